#include "machines/haproxy_config.h"

#include <algorithm>

#include "base/hash.h"
#include "base/strings.h"

namespace caravel::machines {
namespace {

std::string quoted(std::string_view s) {
  std::string out = "'";
  for (char c : s) {
    if (c == '\'') out += "'\\''";
    else if (c != '\n' && c != '\r') out += c;
  }
  return out + "'";
}

// ELBv2 patterns ('*' and '?') as a regular expression.
std::string pattern_regex(std::string_view p) {
  std::string out = "^";
  for (char c : p) {
    if (c == '*') out += ".*";
    else if (c == '?') out += ".";
    else if (std::string_view(".+()[]{}^$|\\").find(c) != std::string_view::npos) out += std::string("\\") + c;
    else out += c;
  }
  return out + "$";
}

bool is_http(const Listener& l) { return l.protocol == "HTTP" || l.protocol == "HTTPS"; }

std::string server_options(const TargetGroup& g) {
  const TargetHealthCheck& h = g.health_check;
  std::string s;
  if (h.enabled) {
    s += " check inter " + std::to_string(h.interval_seconds) + "s fastinter 1s rise " + std::to_string(h.healthy_threshold) + " fall " + std::to_string(h.unhealthy_threshold);
    if (h.port) s += " port " + std::to_string(h.port);
    if (h.protocol == "HTTPS" && g.protocol != "HTTPS") s += " check-ssl verify none";
  }
  if (g.protocol == "HTTPS" || g.protocol == "TLS") s += " ssl verify none";
  if (g.proxy_protocol_v2) s += " send-proxy-v2";
  return s;
}

LoadBalancerSpec without_targets(LoadBalancerSpec lb) {
  for (auto& g : lb.target_groups) g.targets.clear();
  return lb;
}

class Config {
 public:
  Config(const LoadBalancerSpec& lb, const std::string& directory) : lb_(lb), dir_(directory) {}

  HaproxyFiles render() {
    text_ =
        "global\n  maxconn 4000\n  no strict-limits\n  nbthread 1\n  tune.ssl.default-dh-param 2048\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n"
        "  stats socket " +
        dir_ +
        "/stats.sock mode 600 level admin expose-fd listeners\n  hard-stop-after 300s\n"
        "defaults\n  timeout connect 5s\n  timeout client " +
        std::to_string(lb_.idle_timeout_seconds) + "s\n  timeout server " + std::to_string(lb_.idle_timeout_seconds) +
        "s\n  timeout http-keep-alive 60s\n  timeout tunnel 1h\n  option redispatch\n  retries 3\n  log stdout format raw local0\n";
    for (auto& l : lb_.listeners) frontend(l);
    for (auto& g : lb_.target_groups) backend(g);
    out_.config = text_;
    return std::move(out_);
  }

 private:
  void line(const std::string& s) { text_ += "  " + s + "\n"; }

  void frontend(const Listener& l) {
    text_ += "frontend listener_" + std::to_string(l.port) + "\n";
    bool http = is_http(l);
    line(http ? "mode http" : "mode tcp");
    if (!http) line("timeout client 350s");
    std::string tls;
    if (l.protocol == "HTTPS" || l.protocol == "TLS") {
      for (auto& c : l.certificates) {
        std::string pem = c.certificate + "\n" + c.chain + "\n" + c.key + "\n";
        std::string name = sha256_hex(c.arn + pem).substr(0, 24) + ".pem";
        out_.certificates[name] = pem;
        tls += " crt " + dir_ + "/" + name;
      }
      if (!l.certificates.empty()) tls = " ssl" + tls + (http ? " alpn h2,http/1.1" : "");
    }
    for (auto& n : lb_.nodes)
      if (!n.private_ip.empty()) line("bind " + n.private_ip + ":" + std::to_string(l.port) + tls);
    if (!http) {
      for (auto& f : l.default_action.forward) line("default_backend " + backend_name(f.target_group_arn));
      return;
    }
    line("option http-keep-alive");
    line("option forwardfor");
    line(std::string("http-request set-header X-Forwarded-Proto ") + (l.protocol == "HTTPS" ? "https" : "http"));
    line("http-request set-header X-Forwarded-Port " + std::to_string(l.port));
    line("http-request set-header X-Amzn-Trace-Id Root=1-%[date,hex,bytes(8,8)]-%[uuid,bytes(0,8)]%[uuid,bytes(9,4)] unless { req.hdr(X-Amzn-Trace-Id) -m found }");
    auto rules = l.rules;
    std::sort(rules.begin(), rules.end(), [](auto& a, auto& b) { return a.priority < b.priority; });
    size_t index = 0;
    for (auto& r : rules) rule(r, index++, l);
    action(l.default_action, "", l);
  }

  void rule(const ListenerRule& r, size_t index, const Listener& l) {
    std::string all;
    size_t n = 0;
    for (auto& c : r.conditions) {
      std::string acl = "r" + std::to_string(index) + "_" + std::to_string(n++);
      std::string values;
      if (c.field == "host-header") {
        for (auto& v : c.values) line("acl " + acl + " req.hdr(host),field(1,:),lower -m reg " + quoted(pattern_regex(to_lower(v))));
      } else if (c.field == "path-pattern") {
        for (auto& v : c.values) line("acl " + acl + " path -m reg " + quoted(pattern_regex(v)));
      } else if (c.field == "http-header") {
        for (auto& v : c.values) line("acl " + acl + " req.hdr(" + replace_all(replace_all(c.header, ")", ""), " ", "") + ") -m reg -i " + quoted(pattern_regex(v)));
      } else if (c.field == "http-request-method") {
        for (auto& v : c.values) line("acl " + acl + " method " + quoted(v));
      } else if (c.field == "source-ip") {
        for (auto& v : c.values) line("acl " + acl + " src " + quoted(v));
      } else if (c.field == "query-string") {
        for (auto& [k, v] : c.query) line("acl " + acl + " query -m reg " + quoted("(^|&)" + (k.empty() ? std::string("[^=]*") : k) + "=" + pattern_regex(v).substr(1, pattern_regex(v).size() - 2) + "(&|$)"));
      } else {
        continue;
      }
      all += " " + acl;
    }
    action(r.action, all.empty() ? "" : " if" + all, l);
  }

  void action(const ListenerAction& a, const std::string& condition, const Listener& l) {
    switch (a.kind) {
      case ListenerAction::Kind::kForward:
        forward(a, condition);
        return;
      case ListenerAction::Kind::kFixedResponse:
        line("http-request return status " + std::to_string(a.status_code) + " content-type " + quoted(a.content_type.empty() ? "text/plain" : a.content_type) + " string " +
             quoted(replace_all(a.body, "%", "%%")) + condition);
        return;
      case ListenerAction::Kind::kRedirect: {
        auto fill = [&](std::string s, const std::string& fallback) {
          if (s.empty()) s = fallback;
          s = replace_all(s, "#{protocol}", l.protocol == "HTTPS" ? "https" : "http");
          s = replace_all(s, "#{host}", "%[req.hdr(host),field(1,:)]");
          s = replace_all(s, "#{port}", std::to_string(l.port));
          s = replace_all(s, "/#{path}", "%[path]");
          s = replace_all(s, "#{path}", "%[path]");
          return replace_all(s, "#{query}", "%[query]");
        };
        std::string protocol = to_lower(fill(a.protocol, "#{protocol}")), port = fill(a.port, "#{port}");
        bool standard = (protocol == "https" && port == "443") || (protocol == "http" && port == "80");
        std::string url = protocol + "://" + fill(a.host, "#{host}") + (standard ? "" : ":" + port) + fill(a.path, "/#{path}");
        std::string query = a.query.empty() ? "#{query}" : a.query;
        if (query == "#{query}") url += "%[query,length,bool,iif(?,)]%[query]";
        else url += "?" + fill(query, "");
        line("http-request redirect location " + quoted(url) + " code " + std::to_string(a.status_code == 302 ? 302 : 301) + condition);
        return;
      }
    }
  }

  void forward(const ListenerAction& a, const std::string& condition) {
    if (a.forward.empty()) return;
    int total = 0;
    for (auto& f : a.forward) total += f.weight;
    if (a.forward.size() == 1 || total == 0) {
      use(a.forward[0].target_group_arn, condition);
      return;
    }
    int before = 0;
    for (auto& f : a.forward) {
      before += f.weight;
      if (f.weight == 0) continue;
      std::string share = " { rand(" + std::to_string(total) + ") lt " + std::to_string(before) + " }";
      use(f.target_group_arn, before >= total ? condition : (condition.empty() ? " if" : condition) + share);
    }
  }

  void use(const std::string& arn, const std::string& condition) { line((condition.empty() ? "default_backend " : "use_backend ") + backend_name(arn) + condition); }

  void backend(const TargetGroup& g) {
    text_ += "backend " + backend_name(g.arn) + "\n";
    bool http = g.protocol == "HTTP" || g.protocol == "HTTPS";
    line(http ? "mode http" : "mode tcp");
    line(g.algorithm == "least_outstanding_requests" || !http ? "balance leastconn" : "balance roundrobin");
    if (http) line("option http-keep-alive\n  http-reuse safe\n  retry-on conn-failure empty-response\n  option redispatch");
    if (g.sticky && http) line("cookie " + (g.sticky_cookie.empty() ? std::string("AWSALB") : g.sticky_cookie) + " insert indirect nocache maxlife " + std::to_string(g.sticky_seconds) + "s");
    const TargetHealthCheck& h = g.health_check;
    if (h.enabled && h.protocol != "TCP") {
      line("option httpchk");
      line("http-check send meth GET uri " + quoted(h.path) + " ver HTTP/1.1 hdr Host health hdr User-Agent ELB-HealthChecker/2.0");
      line("http-check expect status " + h.matcher);
    }
    for (auto& t : g.targets) {
      if (t.ip.empty()) continue;
      std::string s = "server " + server_name(t) + " " + t.ip + ":" + std::to_string(t.port) + server_options(g);
      if (g.sticky && http) s += " cookie " + server_name(t);
      if (t.draining) s += " weight 0";
      line(s);
    }
  }

  const LoadBalancerSpec& lb_;
  const std::string& dir_;
  std::string text_;
  HaproxyFiles out_;
};

}  // namespace

std::string backend_name(const std::string& arn) {
  std::vector<std::string> parts = split(arn, '/');
  return "tg_" + (parts.size() >= 3 ? parts[parts.size() - 2] + "_" + parts.back() : sha256_hex(arn).substr(0, 16));
}

std::string server_name(const Target& t) { return "t_" + replace_all(replace_all(t.id, ".", "_"), ":", "_") + "_" + std::to_string(t.port); }

HaproxyFiles render_haproxy(const LoadBalancerSpec& lb, const std::string& directory) { return Config(lb, directory).render(); }

std::optional<std::vector<std::string>> runtime_changes(const LoadBalancerSpec& before, const LoadBalancerSpec& after) {
  HaproxyFiles a = render_haproxy(without_targets(before), ""), b = render_haproxy(without_targets(after), "");
  if (a.config != b.config || a.certificates != b.certificates) return std::nullopt;
  std::vector<std::string> out;
  for (size_t i = 0; i < after.target_groups.size(); ++i) {
    const TargetGroup& g = after.target_groups[i];
    std::map<std::string, const Target*> old, now;
    for (auto& t : before.target_groups[i].targets)
      if (!t.ip.empty()) old[server_name(t)] = &t;
    for (auto& t : g.targets)
      if (!t.ip.empty()) now[server_name(t)] = &t;
    for (auto& [name, t] : old) {
      std::string server = backend_name(g.arn) + "/" + name;
      if (!now.count(name)) out.push_back("set server " + server + " state maint");
    }
    for (auto& [name, t] : now) {
      std::string server = backend_name(g.arn) + "/" + name;
      auto was = old.find(name);
      if (was == old.end()) {
        if (g.sticky) return std::nullopt;
        // A server that went before stands there in maintenance: it is only opened again.
        out.push_back("add server " + server + " " + t->ip + ":" + std::to_string(t->port) + server_options(g));
        out.push_back("set server " + server + " addr " + t->ip + " port " + std::to_string(t->port));
        if (g.health_check.enabled) out.push_back("enable health " + server);
        out.push_back("set server " + server + " state " + (t->draining ? "drain" : "ready"));
      } else {
        if (was->second->ip != t->ip) out.push_back("set server " + server + " addr " + t->ip + " port " + std::to_string(t->port));
        if (was->second->draining != t->draining) {
          out.push_back("set server " + server + " weight 100%");
          out.push_back("set server " + server + " state " + (t->draining ? "drain" : "ready"));
        }
      }
    }
  }
  return out;
}

std::vector<TargetHealth> read_health(const LoadBalancerSpec& lb, const std::string& csv) {
  // Columns by name: the first line is "# pxname,svname,...".
  std::map<std::pair<std::string, std::string>, std::map<std::string, std::string>> rows;
  std::vector<std::string> names;
  for (auto& line : split(csv, '\n')) {
    auto cells = split(line, ',');
    if (line.starts_with("# ")) {
      names = split(line.substr(2), ',');
      continue;
    }
    if (cells.size() < 3) continue;
    auto& row = rows[{cells[0], cells[1]}];
    for (size_t i = 0; i < cells.size() && i < names.size(); ++i) row[names[i]] = cells[i];
  }
  std::vector<TargetHealth> out;
  for (auto& g : lb.target_groups)
    for (auto& t : g.targets) {
      TargetHealth h;
      h.target_group_arn = g.arn;
      h.target_id = t.id;
      h.port = t.port;
      auto it = rows.find({backend_name(g.arn), server_name(t)});
      std::string status = it == rows.end() ? "" : it->second["status"], check = it == rows.end() ? "" : it->second["check_status"];
      if (t.draining) {
        h.state = "draining";
        h.reason = "Target.DeregistrationInProgress";
        h.description = "Target deregistration is in progress";
      } else if (it == rows.end()) {
        h.state = "initial";
        h.reason = "Elb.RegistrationInProgress";
        h.description = "Target registration is in progress";
      } else if (check.empty() || check == "INI" || status.find("no check") != std::string::npos) {
        h.state = g.health_check.enabled ? "initial" : "healthy";
        if (g.health_check.enabled) {
          h.reason = "Elb.InitialHealthChecking";
          h.description = "Initial health checks in progress";
        }
      } else if (status.starts_with("UP")) {
        h.state = "healthy";
      } else {
        h.state = "unhealthy";
        bool timeout = check.ends_with("TOUT") || check.ends_with("TMO");
        h.reason = timeout ? "Target.Timeout" : check.starts_with("L7") ? "Target.ResponseCodeMismatch"
                                                                        : "Target.FailedHealthChecks";
        std::string code = it->second["check_code"];
        h.description = timeout ? "Request timed out" : check.starts_with("L7") ? "Health checks failed with these codes: [" + code + "]"
                                                                                : "Health checks failed";
      }
      out.push_back(std::move(h));
    }
  return out;
}

}  // namespace caravel::machines
