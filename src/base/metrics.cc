#include "base/metrics.h"

#include "base/json.h"

namespace caravel {
namespace {

std::string number(double v) { return json::dump(json::Value(v)); }

std::string label_text(const std::vector<std::string>& names, const LabelValues& values, const std::string& extra = "") {
  std::string out;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!out.empty()) out += ',';
    out += names[i] + "=" + json::quote(i < values.size() ? values[i] : "");
  }
  if (!extra.empty()) out += (out.empty() ? "" : ",") + extra;
  return out.empty() ? "" : "{" + out + "}";
}

}  // namespace

void MetricFamily::observe(const LabelValues& labels, double v) {
  Series& s = series_[labels];
  if (s.counts.empty()) s.counts.resize(buckets_.size());
  for (size_t i = 0; i < buckets_.size(); ++i)
    if (v <= buckets_[i]) {
      ++s.counts[i];
      break;
    }
  ++s.count;
  s.value += v;
}

double MetricFamily::get(const LabelValues& labels) const {
  auto it = series_.find(labels);
  return it == series_.end() ? 0 : it->second.value;
}

void MetricFamily::expose(std::string& out) const {
  static const char* kTypes[] = {"counter", "gauge", "histogram"};
  out += "# HELP " + name_ + " " + help_ + "\n# TYPE " + name_ + " " + kTypes[static_cast<int>(type_)] + "\n";
  for (auto& [labels, s] : series_) {
    if (type_ != MetricType::kHistogram) {
      out += name_ + label_text(labels_, labels) + " " + number(s.value) + "\n";
      continue;
    }
    uint64_t total = 0;
    for (size_t i = 0; i < buckets_.size(); ++i) {
      total += s.counts[i];
      out += name_ + "_bucket" + label_text(labels_, labels, "le=\"" + number(buckets_[i]) + "\"") + " " + std::to_string(total) + "\n";
    }
    out += name_ + "_bucket" + label_text(labels_, labels, "le=\"+Inf\"") + " " + std::to_string(s.count) + "\n";
    out += name_ + "_sum" + label_text(labels_, labels) + " " + number(s.value) + "\n";
    out += name_ + "_count" + label_text(labels_, labels) + " " + std::to_string(s.count) + "\n";
  }
}

MetricFamily& MetricRegistry::counter(std::string name, std::string help, std::vector<std::string> labels) {
  return families_.emplace_back(MetricType::kCounter, std::move(name), std::move(help), std::move(labels), std::vector<double>{});
}
MetricFamily& MetricRegistry::gauge(std::string name, std::string help, std::vector<std::string> labels) {
  return families_.emplace_back(MetricType::kGauge, std::move(name), std::move(help), std::move(labels), std::vector<double>{});
}
MetricFamily& MetricRegistry::histogram(std::string name, std::string help, std::vector<std::string> labels, std::vector<double> buckets) {
  return families_.emplace_back(MetricType::kHistogram, std::move(name), std::move(help), std::move(labels), std::move(buckets));
}
std::string MetricRegistry::expose() const {
  std::string out;
  for (auto& f : families_) f.expose(out);
  return out;
}

}  // namespace caravel
