// /debug/api_priority_and_fairness: the levels, queues and requests of the moment, as tables of upstream's columns.
#include "apiserver/flow_control.h"

namespace caravel::apiserver {

namespace {

using Row = std::vector<std::string>;

std::string table(const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string out;
  for (auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 == row.size()) break;
      out += ", " + std::string(widths[i] - row[i].size(), ' ');
    }
    out += '\n';
  }
  return out;
}

std::string text(int64_t n) { return std::to_string(n); }
std::string text(bool b) { return b ? "true" : "false"; }

// "" where the flow is not told apart from others.
std::string distinguisher(const std::string& flow) {
  size_t slash = flow.find('/');
  return slash == flow.npos ? "" : flow.substr(slash + 1);
}

}  // namespace

std::string FlowControl::dump_levels() const {
  std::vector<Row> rows = {{"PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests", "DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests"}};
  for (auto& [name, l] : levels_) {
    int64_t active = 0, waiting = 0;
    for (auto& q : l.queue) {
      active += !q.empty();
      waiting += static_cast<int64_t>(q.size());
    }
    const int64_t executing = static_cast<int64_t>(l.running.size());
    rows.push_back({name, text(active), text(waiting == 0 && executing == 0), text(!l.configured), text(waiting), text(executing), text(l.dispatched), text(l.rejected), text(l.timed_out), text(l.cancelled)});
  }
  return table(rows);
}

std::string FlowControl::dump_queues() const {
  // Seats are given out by turns here, not by virtual time, and what runs has left its queue: those columns stay at zero.
  const std::string zero = "0.00000000ss";
  std::vector<Row> rows = {{"PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR", "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum"}};
  for (auto& [name, l] : levels_)
    for (size_t i = 0; i < l.queue.size(); ++i) {
      int64_t initial = 0, most = 0;
      for (auto& w : l.queue[i]) {
        initial += w->request.width.seats;
        most += w->request.width.most();
      }
      rows.push_back({name, text(static_cast<int64_t>(i)), text(static_cast<int64_t>(l.queue[i].size())), "0", "0", zero, text(initial), text(most), zero});
    }
  return table(rows);
}

std::string FlowControl::dump_requests(bool details) const {
  Row head = {"PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime", "InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime"};
  if (details)
    for (const char* name : {"UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"}) head.emplace_back(name);
  std::vector<Row> rows = {std::move(head)};
  auto add = [&](const std::string& level, int64_t queue, int64_t index, const Running& q, bool begun) {
    Row row = {level, q.schema, text(queue), text(index), distinguisher(q.flow), format_rfc3339_micro(q.arrived), text(int64_t{q.width.seats}), text(int64_t{q.width.after}), format_duration(q.width.held), begun ? format_rfc3339_micro(q.begun) : ""};
    if (details) {
      Request r;
      r.method = q.method;
      r.path = q.path;
      parse_request_info(r);
      std::string version = !r.is_resource ? "" : r.group.empty() ? r.version
                                                                  : r.group + "/" + r.version;
      for (auto& s : {q.user->name, q.verb, q.path, r.ns, r.name, version, r.plural, r.subresource}) row.push_back(s);
    }
    rows.push_back(std::move(row));
  };
  for (auto& [name, l] : levels_) {
    for (size_t i = 0; i < l.queue.size(); ++i) {
      int64_t index = 0;
      for (auto& w : l.queue[i]) add(name, static_cast<int64_t>(i), index++, w->request, false);
    }
    for (auto& q : l.running) add(name, -1, -1, q, true);
  }
  return table(rows);
}

std::optional<Response> FlowControl::serve_dump(const Request& r) const {
  constexpr std::string_view kBelow = "/debug/api_priority_and_fairness/";
  if (!r.path.starts_with(kBelow)) return std::nullopt;
  const std::string what = r.path.substr(kBelow.size());
  std::string out;
  if (what == "dump_priority_levels") out = dump_levels();
  else if (what == "dump_queues") out = dump_queues();
  else if (what == "dump_requests") out = dump_requests(r.param("includeRequestDetails") && r.flag("includeRequestDetails"));
  else return std::nullopt;
  Response res;
  res.content_type = "text/plain; charset=utf-8";
  res.body = std::make_shared<const std::string>(std::move(out));
  return res;
}

}  // namespace caravel::apiserver
