#include "apiserver/flow_borrowing.h"

#include <algorithm>
#include <cmath>

namespace caravel::apiserver {

namespace {
constexpr double kDecay = 0.977;  // per period: a demand is half forgotten after five minutes

double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

struct Need {
  double keep = 0, wish = 0, most = 0;
  double at(double fraction) const { return std::min(most, std::max(keep, fraction * wish)); }
};

// The fraction at which the levels' seats add up to `total`. The sum rises with the fraction: halve.
double fair_fraction(const std::vector<Need>& needs, double total) {
  double low = 0, high = 1;
  auto sum = [&](double f) {
    double s = 0;
    for (auto& n : needs) s += n.at(f);
    return s;
  };
  double reachable = 0;
  for (auto& n : needs) reachable += n.wish > 0 ? n.most : n.keep;
  if (reachable <= total) total = reachable;
  while (sum(high) < total && high < 1e9) high *= 2;
  for (int i = 0; i < 60; ++i) {
    double mid = (low + high) / 2;
    (sum(mid) < total ? low : high) = mid;
  }
  return high;
}

}  // namespace

void SeatDemand::integrate(Time now) {
  if (last_.is_zero()) begin_ = last_ = now;
  double t = seconds(now - last_);
  sum_ += t * seats_;
  squares_ += t * seats_ * seats_;
  last_ = now;
}

void SeatDemand::set(int seats, Time now) {
  integrate(now);
  seats_ = std::max(0, seats);
  high_ = std::max(high_, seats_);
}

SeatDemand::Summary SeatDemand::take(Time now) {
  integrate(now);
  Summary s;
  double t = seconds(now - begin_);
  s.high = high_;
  s.average = t > 0 ? sum_ / t : seats_;
  s.deviation = t > 0 ? std::sqrt(std::max(0.0, squares_ / t - s.average * s.average)) : 0;
  begin_ = now;
  sum_ = squares_ = 0;
  high_ = seats_;
  return s;
}

void adjust_seats(std::vector<LevelSeats*>& levels, const std::vector<SeatDemand::Summary>& demand, int total) {
  std::vector<Need> needs;
  std::vector<LevelSeats*> sharing;
  double left = total, kept = 0;
  for (size_t i = 0; i < levels.size(); ++i) {
    LevelSeats& l = *levels[i];
    const SeatDemand::Summary& d = demand[i];
    double envelope = std::min(d.high, d.average + d.deviation);
    l.smooth = std::max(envelope, kDecay * l.smooth + (1 - kDecay) * envelope);
    if (l.exempt) {  // takes what it needs
      l.current = static_cast<int>(std::lround(std::max<double>(l.lower, d.high)));
      left -= l.current;
      continue;
    }
    Need n;
    n.keep = std::max<double>(l.lower, std::min<double>(l.nominal, d.high));
    n.wish = std::max(n.keep, l.smooth);
    n.most = l.upper;
    kept += n.keep;
    needs.push_back(n);
    sharing.push_back(&l);
  }
  double fraction = kept >= left ? 0 : fair_fraction(needs, left);
  for (size_t i = 0; i < sharing.size(); ++i) sharing[i]->current = std::max(1, static_cast<int>(std::lround(needs[i].at(fraction))));
}

}  // namespace caravel::apiserver
