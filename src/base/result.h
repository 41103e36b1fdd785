// Result<T>: a value or an Error. The only way errors cross a component boundary; exceptions never do.
//
// An Error says what failed, why, and (where there is something to do) what to do next, as one sentence
// that names the object. `code` is what callers branch on; each wire (Kubernetes Status, AWS error) maps
// it in one table.
//
//   Result<int> parse(std::string_view s);
//   TRY(int n, parse(text));                    // in a function returning Result<...>
//   CO_TRY(auto pod, co_await client.get(...)); // in a coroutine returning Task<Result<...>>
//   TRY_VOID(check(n)); CO_TRY_VOID(co_await write(n));
#pragma once

#include <cassert>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace caravel {

enum class Code {
  kInvalid,        // the input is wrong (Kubernetes 422 / a malformed argument)
  kBadRequest,     // the request cannot be understood (400)
  kUnauthorized,   // 401
  kForbidden,      // 403
  kNotFound,       // 404
  kUnsupported,    // 405, 406, 415: understood but not offered
  kAlreadyExists,  // 409 AlreadyExists
  kConflict,       // 409 Conflict
  kGone,           // 410 Expired
  kTooLarge,       // 413
  kTooMany,        // 429
  kTimeout,        // 504
  kUnavailable,    // 503, connection refused or lost: worth a retry
  kCancelled,      // the caller asked to stop
  kInternal,       // a defect or an I/O error of ours
};

std::string_view code_name(Code code);

struct Error {
  Code code = Code::kInternal;
  std::string message;
  // Machine-readable details of the wire that produced the error, for callers that pass it on: for
  // Kubernetes the Status object's JSON text, for AWS the error code. Empty otherwise.
  std::string details;
};

// Prefixes the message: wrap(err, "reading kubeconfig /x/y") -> "reading kubeconfig /x/y: no such file".
inline Error wrap(Error e, std::string_view context) {
  e.message = std::string(context) + ": " + e.message;
  return e;
}

inline Error invalid(std::string m) { return {Code::kInvalid, std::move(m), {}}; }
inline Error not_found(std::string m) { return {Code::kNotFound, std::move(m), {}}; }
inline Error internal(std::string m) { return {Code::kInternal, std::move(m), {}}; }
inline Error unavailable(std::string m) { return {Code::kUnavailable, std::move(m), {}}; }
inline Error make_error(Code c, std::string m) { return {c, std::move(m), {}}; }

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : v_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : v_(std::in_place_index<1>, std::move(error)) {}
  template <class U>
    requires(std::is_convertible_v<U &&, T> && !std::is_same_v<std::remove_cvref_t<U>, T> &&
             !std::is_same_v<std::remove_cvref_t<U>, Error> && !std::is_same_v<std::remove_cvref_t<U>, Result>)
  Result(U&& value) : v_(std::in_place_index<0>, std::forward<U>(value)) {}

  bool ok() const { return v_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & {
    assert(ok());
    return *std::get_if<0>(&v_);
  }
  const T& value() const& {
    assert(ok());
    return *std::get_if<0>(&v_);
  }
  T&& value() && {
    assert(ok());
    return std::move(*std::get_if<0>(&v_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const& {
    assert(!ok());
    return *std::get_if<1>(&v_);
  }
  Error&& error() && {
    assert(!ok());
    return std::move(*std::get_if<1>(&v_));
  }
  T value_or(T fallback) const { return ok() ? value() : std::move(fallback); }

 private:
  std::variant<T, Error> v_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  void value() const { assert(ok()); }
  const Error& error() const& {
    assert(error_);
    return *error_;
  }
  Error&& error() && {
    assert(error_);
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;
inline Status ok() { return {}; }

}  // namespace caravel

#define CARAVEL_CAT_(a, b) a##b
#define CARAVEL_CAT(a, b) CARAVEL_CAT_(a, b)
#define CARAVEL_TRY_(ret, tmp, decl, ...)    \
  auto tmp = (__VA_ARGS__);                  \
  if (!tmp.ok()) ret std::move(tmp).error(); \
  decl = std::move(tmp).value()
#define TRY(decl, ...) CARAVEL_TRY_(return, CARAVEL_CAT(try_, __LINE__), decl, __VA_ARGS__)
#define CO_TRY(decl, ...) CARAVEL_TRY_(co_return, CARAVEL_CAT(try_, __LINE__), decl, __VA_ARGS__)
#define CARAVEL_TRY_VOID_(ret, tmp, ...)       \
  do {                                         \
    auto tmp = (__VA_ARGS__);                  \
    if (!tmp.ok()) ret std::move(tmp).error(); \
  } while (0)
#define TRY_VOID(...) CARAVEL_TRY_VOID_(return, CARAVEL_CAT(try_, __LINE__), __VA_ARGS__)
#define CO_TRY_VOID(...) CARAVEL_TRY_VOID_(co_return, CARAVEL_CAT(try_, __LINE__), __VA_ARGS__)
