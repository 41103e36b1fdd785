// Metrics in Prometheus' text exposition format. A component makes a MetricRegistry, registers families
// once and keeps the returned references. Threading: one executor.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace caravel {

using LabelValues = std::vector<std::string>;

enum class MetricType { kCounter,
                        kGauge,
                        kHistogram };

class MetricFamily {
 public:
  MetricFamily(MetricType type, std::string name, std::string help, std::vector<std::string> labels, std::vector<double> buckets)
      : type_(type), name_(std::move(name)), help_(std::move(help)), labels_(std::move(labels)), buckets_(std::move(buckets)) {}
  void inc(const LabelValues& labels = {}, double by = 1) { value(labels) += by; }
  void set(const LabelValues& labels, double v) { value(labels) = v; }
  void set(double v) { value({}) = v; }
  void observe(const LabelValues& labels, double v);
  double get(const LabelValues& labels = {}) const;
  // One series' value, for those who count often: it stays where it is until erase().
  double& cell(const LabelValues& labels) { return value(labels); }
  void erase(const LabelValues& labels) { series_.erase(labels); }
  void expose(std::string& out) const;

 private:
  struct Series {
    double value = 0;
    std::vector<uint64_t> counts;  // histogram: per bucket, cumulative when written
    uint64_t count = 0;
  };
  double& value(const LabelValues& labels) { return series_[labels].value; }
  MetricType type_;
  std::string name_, help_;
  std::vector<std::string> labels_;
  std::vector<double> buckets_;
  std::map<LabelValues, Series> series_;
};

class MetricRegistry {
 public:
  MetricFamily& counter(std::string name, std::string help, std::vector<std::string> labels = {});
  MetricFamily& gauge(std::string name, std::string help, std::vector<std::string> labels = {});
  // Buckets in the metric's unit (seconds by convention), ascending, without +Inf.
  MetricFamily& histogram(std::string name, std::string help, std::vector<std::string> labels, std::vector<double> buckets);
  std::string expose() const;

 private:
  std::deque<MetricFamily> families_;
};

}  // namespace caravel
