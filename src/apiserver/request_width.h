// How many seats of its priority level a request takes, by what it is going to cost.
//
// The problem: a list of 10,000 objects or a write that a thousand watchers are told of is no small request, and a
// level that counts it as one lets too many in. What upstream promises: a list takes a seat for each 100 objects that
// it looks at; a watch that begins with a list costs what the list does; a write takes one seat while it runs and
// holds one for each ten watchers a while longer, 5 ms each, for the events that follow it; nobody takes more than
// kSeatsMax, or a sixth or so (15 %) of its level.
// Differs on purpose: all watchers of the resource are counted, whatever namespace they watch.
#pragma once

#include "apiserver/request.h"
#include "base/clock.h"

namespace caravel::apiserver {

constexpr int kSeatsMax = 10;
constexpr int kObjectsPerSeat = 100, kWatchersPerSeat = 10;
constexpr Duration kEventsOfSeat = std::chrono::milliseconds(5);
constexpr int kLevelPercentMax = 15;

struct RequestWidth {
  int seats = 1;                // while it runs
  int after = 0;                // held further when it has ended,
  Duration held = Duration(0);  // for so long
  int most() const { return seats > after ? seats : after; }
};

struct WidthFacts {
  size_t objects = 0, watchers = 0;  // of the resource; 0 where it is not known
  int level_seats = 0;               // nominal
};
// parse_request_info() has been called.
RequestWidth width_of(const Request& r, const WidthFacts& facts);

}  // namespace caravel::apiserver
