// Validation of built-in kinds by family; validate_builtin.cc chooses.
#pragma once

#include "kube/validation.h"

namespace caravel::kube::check {

using Words = std::initializer_list<std::string_view>;
// Fails unless the value is one of these; absent is an error only when `required`. The message sorts them.
void one_of(const json::Value& v, Words allowed, const FieldPath& p, FieldErrors& e, bool required = true);
// Fails unless the value is one of these, "" too; the message has them in this order, which is upstream's.
void supported(const json::Value& v, Words allowed, const FieldPath& p, FieldErrors& e);
// Runs a check of validation.h and reports each fault that it finds. True: there is none.
bool text_must(NameCheck check, std::string_view s, const FieldPath& p, FieldErrors& e);
inline bool text_must(NameCheck check, const std::string& s, const FieldPath& p, FieldErrors& e) { return text_must(check, std::string_view(s), p, e); }
inline bool text_must(NameCheck check, const json::Value& v, const FieldPath& p, FieldErrors& e) { return text_must(check, std::string_view(v.as_string()), p, e); }
// Reports what such a check said about this value.
void each_fault(const std::string& faults, const json::Value& value, const FieldPath& p, FieldErrors& e);
// The members that must be there and not empty.
void must_have(const json::Value& v, Words members, const FieldPath& p, FieldErrors& e);
void non_negative(const json::Value& v, const FieldPath& p, FieldErrors& e);
// Equal, where an absent member and a null one are the same.
bool same(const json::Value& a, const json::Value& b);
void immutable(const json::Value& now, const json::Value& old, const FieldPath& p, FieldErrors& e);
void port_number(const json::Value& v, const FieldPath& p, FieldErrors& e);
// An int or a percentage; and one of not more than 100%.
void at_most_all(const json::Value& v, const FieldPath& p, FieldErrors& e);
void int_or_percent(const json::Value& v, const FieldPath& p, FieldErrors& e);
// "acme.io/foo".
void domain_prefixed_path(const std::string& name, const FieldPath& p, FieldErrors& e);
// Addresses that mean this machine, this link or many: not an endpoint's.
void special_ip(const std::string& ip, const FieldPath& p, FieldErrors& e);
// True when the selector's matchLabels and expressions select these labels.
bool selects(const json::Value& selector, const json::Value& labels);

// `claim_templates`: a StatefulSet's.
void pod_template(const json::Value& t, const FieldPath& p, FieldErrors& e, const json::Value* claim_templates = nullptr);
void pod(const json::Value& o, const json::Value* old, FieldErrors& e);

void workload(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void batch(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void network(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void cluster(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void storage(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void policy(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void horizontal_autoscaler(const json::Value& o, const json::Value* old, FieldErrors& e);
void control(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void endpoints(const json::Value& o, FieldErrors& e);
void endpoint_slice(const json::Value& o, const json::Value* old, FieldErrors& e);
void dynamic_resource(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void event(std::string_view group, const json::Value& o, const json::Value* old, FieldErrors& e);
void certificate_request(const json::Value& o, const json::Value* old, FieldErrors& e);
void admission(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e);
void crd(const json::Value& o, const json::Value* old, FieldErrors& e);

}  // namespace caravel::kube::check
