// Parts that webhooks and admission policies have in common.
#pragma once

#include "kube/cel/admission.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

void rule_with_operations(const json::Value& rule, const FieldPath& p, FieldErrors& e);
void match_conditions(const json::Value& list, const cel::PolicyCompiler& compiler, const FieldPath& p, FieldErrors& e);
void webhook_configuration(const json::Value& o, bool mutating, FieldErrors& e);
// https, or a service with a good path and port.
void webhook_client_config(const json::Value& config, const FieldPath& p, FieldErrors& e, bool of_crd = false);
// Compiles and tells what is wrong; `kinds` are the types that it may give, none: any. Null: it does not compile.
std::optional<cel::Program> expression(const json::Value& text, const cel::PolicyCompiler& compiler, std::initializer_list<cel::Type::Kind> kinds, const FieldPath& p,
                                       FieldErrors& e);

}  // namespace caravel::kube::check
