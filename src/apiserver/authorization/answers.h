// What the chain of authorizers says, for those who cannot wait for it: expressions, and plugins of admission.
//
// They ask; a question that has not been put to the chain yet is noted, and the answer is no for the moment. Whoever
// runs them looks whether questions are open, has them answered and runs them again: what they compute depends on
// nothing else, so they come to the same point and further.
//   do s = judge(request); while (request.access has open questions, which are then resolved)
// Threading: one executor; one request.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/authorization/access.h"
#include "apiserver/core.h"

namespace caravel::apiserver {

constexpr int kRounds = 32;  // of questions that depend on the answers to others

class AccessAnswers {
 public:
  Decision ask(const Attributes& a);
  bool open() const { return !open_.empty(); }
  // Puts the open questions to the chain.
  Task<void> resolve(AccessChain* chain);

 private:
  std::map<std::string, Decision> known_;
  std::map<std::string, std::shared_ptr<const AccessQuestion>> open_;
};

// Of the request's answers, made when first needed; Node and RBAC where no chain is configured.
Decision ask_access(const Core& core, const AdmissionRequest& r, const Attributes& a);
// True when questions were open: they are answered now, and what asked them is to be run again.
Task<bool> answer_open_questions(const Core* core, const AdmissionRequest* r);
// The server's own plugins' verdict.
Task<Status> validate_admission(const Core* core, const AdmissionRequest* r);

}  // namespace caravel::apiserver
