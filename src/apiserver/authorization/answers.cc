#include "apiserver/authorization/answers.h"

namespace caravel::apiserver {

Decision AccessAnswers::ask(const Attributes& a) {
  if (a.user->in_group("system:masters")) return Decision{true, ""};
  auto q = std::make_shared<const AccessQuestion>(a);
  std::string key = json::dump(review_spec(*q));
  if (auto it = known_.find(key); it != known_.end()) return it->second;
  open_[std::move(key)] = std::move(q);
  return {};
}

Task<void> AccessAnswers::resolve(AccessChain* chain) {
  auto open = std::move(open_);
  open_.clear();
  for (auto& [key, q] : open) {
    Attributes a = q->attributes();
    Decision d = co_await chain->decide(a);
    known_[key] = std::move(d);
  }
}

Decision ask_access(const Core& core, const AdmissionRequest& r, const Attributes& a) {
  if (!core.access) return core.authorizer->authorize(a);
  if (!r.access) r.access = std::make_shared<AccessAnswers>();
  return r.access->ask(a);
}

Task<bool> answer_open_questions(const Core* core, const AdmissionRequest* r) {
  if (!core->access || !r->access || !r->access->open()) co_return false;
  std::shared_ptr<AccessAnswers> answers = r->access;
  co_await answers->resolve(core->access);
  co_return true;
}

Task<Status> validate_admission(const Core* core, const AdmissionRequest* r) {
  Status s = core->admission.validate(*r);
  for (int i = 0; i < kRounds && core->access && r->access && r->access->open(); ++i) {
    co_await r->access->resolve(core->access);
    s = core->admission.validate(*r);
  }
  co_return s;
}

}  // namespace caravel::apiserver
