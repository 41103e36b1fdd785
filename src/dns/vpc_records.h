// The names that the VPC's resolver knows itself: instances by their address, and a table.
//
// The table is a JSON object: {"name.": ["10.0.1.5", ...], "*.elb.amazonaws.com.": [...], "alias.": ["target."],
// "zone.": []}. An exact name beats a wildcard, a longer wildcard a shorter one. A value that is no address is
// the target of a CNAME. An empty list makes the name a zone: what is below it and not listed does not exist.
// ip-10-0-11-23.REGION.compute.internal. and ip-10-0-11-23.ec2.internal. answer by themselves. Names under
// "internal.", "local." and names of one label never leave the VPC: unknown ones do not exist.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dns/answer.h"

namespace caravel::dns {

class VpcRecords {
 public:
  static Result<VpcRecords> parse(std::string_view json_text, std::string region);
  Answer resolve(const net::dns::Question& q) const;
  size_t size() const { return table_.size(); }

 private:
  const std::vector<std::string>* find(const std::string& name) const;
  std::map<std::string, std::vector<std::string>> table_;  // lower case, with final dots
  std::set<std::string> zones_;
  std::multimap<std::string, std::string> by_address_;
  std::string region_ = "us-east-1";
};

}  // namespace caravel::dns
