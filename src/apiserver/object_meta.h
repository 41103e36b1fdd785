// metadata of API objects: names, encoding, the fields that the server owns.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apiserver/status.h"
#include "base/executor.h"
#include "base/json.h"

namespace caravel::apiserver {

// The object as the store keeps it: kind, apiVersion and metadata first, metadata.resourceVersion empty
// and its place in *stamp_at, so that the engine writes the revision there.
std::string encode_object(const json::Value& object, size_t* stamp_at);

std::string new_uid(Executor& ex);
// Five characters of the alphabet that upstream uses for generated names.
std::string random_suffix(Executor& ex, int n = 5);

const std::string& meta_string(const json::Value& object, std::string_view field);
// nullopt-like: "" when fine, else why not.
std::string check_dns_subdomain(std::string_view name);
std::string check_dns_label(std::string_view name);
std::string check_path_segment(std::string_view name);
// Rules for metadata that hold for every kind: label and annotation syntax, finalizers, ownerReferences.
void validate_object_meta(const json::Value& object, bool namespaced, std::vector<Cause>& causes);
void validate_object_meta_update(const json::Value& object, const json::Value& old, std::vector<Cause>& causes);

// Drops ownerReferences that are there already and warns of them.
void unique_owners(json::Value& object, bool after_admission, std::vector<std::string>& warnings);

// Equality for deciding whether a write changes anything: managedFields' times do not count.
bool same_object(const json::Value& a, const json::Value& b);
// Everything but metadata and status is equal.
bool same_spec(const json::Value& a, const json::Value& b);

bool has_finalizer(const json::Value& object, std::string_view name);
void add_finalizer(json::Value& object, std::string_view name);
void remove_finalizer(json::Value& object, std::string_view name);

}  // namespace caravel::apiserver
