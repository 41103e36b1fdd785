// What the Describe actions share: filters, identifiers, pages, tags.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "cloud/context.h"

namespace caravel::cloud {

// A filter's name and where its value is: members separated by dots, lists are looked into.
struct FilterPath {
  std::string_view name, path;
};
using FilterTable = std::vector<FilterPath>;

// Filters are [{"Name","Values"}], all must hold; tag:K, tag-key and tag-value work on "Tags".
// Unknown filter names are InvalidParameterValue, as in EC2.
Result<bool> matches(const Value& item, const Value& filters, const FilterTable& table);
// All scalars at a path as text.
std::vector<std::string> texts_at(const Value& item, std::string_view path);

struct Describe {
  std::string_view table;
  std::string_view output;          // "Vpcs"
  std::string_view ids = "";        // input member with identifiers: "VpcIds"
  std::string_view not_found = "";  // error code, and the noun of its message
  std::string_view noun = "";
  const FilterTable* filters = nullptr;
  // Turns a record into what is answered (and filtered); null: as it is.
  Value (*render)(Context&, const Value& record) = nullptr;
  std::string_view token_in = "NextToken", token_out = "NextToken", max_in = "MaxResults";
};
Output describe(Context& c, const Value& in, const Describe& d);

// Cuts a page out of items; adds the token to out. Tokens are the position, opaque to clients.
Result<std::vector<Value>> page(std::vector<Value> items, const Value& in, Value& out, std::string_view token_in = "NextToken", std::string_view max_in = "MaxResults", std::string_view token_out = "NextToken",
                                size_t max_default = 1000);

// Tags of TagSpecifications for a resource type, as [{"Key","Value"}]; [] when none.
Result<Value> tags_for(const Value& in, std::string_view resource_type);
std::string tag_value(const Value& tags, std::string_view key);
void set_tag(Value& tags, std::string_view key, std::string_view value);
bool remove_tag(Value& tags, std::string_view key, const std::string* value);
// A list of strings member, [] when absent.
std::vector<std::string> strings(const Value& v);
Value string_list(const std::vector<std::string>& v);
// The EC2 table that holds an identifier by its prefix; "" when none does.
std::string_view table_of(std::string_view id);
// Text identical up to member order: for client tokens.
bool same_request(const Value& a, const Value& b);

}  // namespace caravel::cloud
