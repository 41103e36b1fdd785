// Events of events.k8s.io/v1, written the way client-go's tools/events does; the scheduler's are of this kind.
//
// A repeat of an event (same type, reason, action, object and version of the object) begins a series: the first repeat is written at once
// with a count of two, later ones are counted here and written when the series is refreshed (every half an hour) or has
// ended (six minutes without a repeat). The note stays that of the first. EventRecorder (events.h) writes the older kind.
//
// SeriesLog decides and is pure; SeriesRecorder is the shell. Never fails the caller. Threading: one executor.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kube/events.h"

namespace caravel::kube {

struct SeriesEvent {
  ObjectReference regarding;
  std::optional<ObjectReference> related;
  std::string type, reason, action, note;
  Time when;
};

class SeriesLog {
 public:
  struct Series {
    std::string ns, name;  // of the Event
    int64_t count = 1;
    Time last;
  };
  struct Step {
    bool create = false;           // write the event under this name
    std::optional<Series> series;  // or patch this one's series
  };
  // `name`: what the event would be called. Neither: it has been counted.
  Step add(const SeriesEvent& e, const std::string& ns, const std::string& name);
  // The series to be written again because they have ended; they, and single events of that age, are forgotten.
  std::vector<Series> ended(Time now);
  // All series: their Events would expire otherwise.
  std::vector<Series> all() const;
  size_t size() const { return known_.size(); }

 private:
  std::map<std::string, Series> known_;
  std::deque<std::string> order_;  // of insertion
};

class SeriesRecorder {
 public:
  SeriesRecorder(Executor& ex, Client client, std::string controller);
  ~SeriesRecorder();
  void normal(const ObjectReference& regarding, std::string_view reason, std::string_view action, std::string note, std::optional<ObjectReference> related = std::nullopt);
  void warning(const ObjectReference& regarding, std::string_view reason, std::string_view action, std::string note);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace caravel::kube
