// Priority levels lend each other seats that they do not need.
//
// A level's share gives it nominal seats. Some of them it lends (lendablePercent), down to a floor; it borrows
// up to a ceiling (borrowingLimitPercent; without one, all there is). Every kBorrowingPeriod the levels' limits
// are set anew from what they wanted since the last time:
//   floor and wish   a level keeps what it needed at most, within its floor and its nominal seats; its wish is
//                    a slowly falling envelope of its demand, never under what it keeps
//   fair fraction    the rest is shared so that every level gets the same fraction of its wish, within floor
//                    and ceiling
// As upstream, so that figures that people know from there hold here.
// adjust_seats is pure. Units: seats; time as the caller counts it. Threading: none of its own.
#pragma once

#include <vector>

#include "base/clock.h"

namespace caravel::apiserver {

constexpr Duration kBorrowingPeriod = std::chrono::seconds(10);

// How many seats a level wanted over time (running and waiting requests).
class SeatDemand {
 public:
  void set(int seats, Time now);
  void add(int delta, Time now) { set(seats_ + delta, now); }
  struct Summary {
    double average = 0, deviation = 0, high = 0;
  };
  // Since the last call; a new period begins.
  Summary take(Time now);

 private:
  void integrate(Time now);
  int seats_ = 0, high_ = 0;
  Time begin_, last_;
  double sum_ = 0, squares_ = 0;  // seat-seconds, seat²-seconds
};

struct LevelSeats {
  // Given.
  bool exempt = false;
  int nominal = 0, lower = 0, upper = 0;
  // Kept from one adjustment to the next.
  double smooth = 0;
  int current = 0;
};

// Sets `current` of every level; `demand` is in the order of `levels`.
void adjust_seats(std::vector<LevelSeats*>& levels, const std::vector<SeatDemand::Summary>& demand, int total);

}  // namespace caravel::apiserver
