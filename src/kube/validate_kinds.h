// Validation of built-in kinds by family; validate_builtin.cc chooses.
#pragma once

#include "kube/validation.h"

namespace caravel::kube::check {

// Fails unless the value is one of these; absent is an error only when `required`.
void one_of(const json::Value& v, std::initializer_list<std::string_view> allowed, const FieldPath& p, FieldErrors& e, bool required = true);
void non_negative(const json::Value& v, const FieldPath& p, FieldErrors& e);
// Equal, where an absent member and a null one are the same.
bool same(const json::Value& a, const json::Value& b);
void immutable(const json::Value& now, const json::Value& old, const FieldPath& p, FieldErrors& e);
void port_number(const json::Value& v, const FieldPath& p, FieldErrors& e);
// An int or a percentage.
void int_or_percent(const json::Value& v, const FieldPath& p, FieldErrors& e);
// True when the selector's matchLabels and expressions select these labels.
bool selects(const json::Value& selector, const json::Value& labels);

void pod_spec(const json::Value& spec, const FieldPath& p, FieldErrors& e, bool restart_always_only = false);
void pod_template(const json::Value& t, const FieldPath& p, FieldErrors& e, bool restart_always_only = false);
void pod_update(const json::Value& now, const json::Value& old, FieldErrors& e);
void containers(const json::Value& list, const FieldPath& p, FieldErrors& e, bool init, const json::Value& spec);
void resources(const json::Value& r, const FieldPath& p, FieldErrors& e);

void workload(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void batch(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void network(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void cluster(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void storage(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void policy(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void control(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void endpoints(const json::Value& o, FieldErrors& e);
void endpoint_slice(const json::Value& o, const json::Value* old, FieldErrors& e);
void dynamic_resource(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void event(std::string_view group, const json::Value& o, const json::Value* old, FieldErrors& e);
void certificate_request(const json::Value& o, const json::Value* old, FieldErrors& e);
void admission(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void crd(const json::Value& o, const json::Value* old, FieldErrors& e);

}  // namespace caravel::kube::check
