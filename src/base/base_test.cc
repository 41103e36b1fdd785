#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/flags.h"
#include "base/json.h"
#include "base/scope.h"
#include "base/strings.h"
#include "base/yaml.h"

namespace caravel {
namespace {

TEST(Time, EveryYearHasItsPlaceAndItsOrder) {
  const char* texts[] = {"0001-01-01T00:00:02.000000Z", "1500-06-01T12:00:00.123456Z", "1716-06-28T08:00:00.000000Z", "1716-06-28T08:00:01.000000Z", "1969-12-31T23:59:59.500000Z",
                         "2026-11-28T00:00:00.000001Z", "2223-07-06T14:13:19.999999Z", "2223-07-06T14:13:20.000000Z", "2500-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"};
  Time before{INT64_MIN};
  for (const char* text : texts) {
    Result<Time> t = parse_rfc3339(text);
    ASSERT_TRUE(t.ok()) << text;
    EXPECT_EQ(format_rfc3339_micro(*t), text);
    EXPECT_LT(before, *t) << text;
    EXPECT_EQ(Time::from_seconds(t->parts().seconds).parts().seconds, t->parts().seconds) << text;
    before = *t;
  }
  EXPECT_TRUE(parse_rfc3339("0001-01-01T00:00:00Z")->is_zero()) << "the time that is not set";
  EXPECT_EQ(format_rfc3339(Time::from_seconds(99'999'999'999'999)), "9999-12-31T23:59:59Z");
  EXPECT_EQ(format_rfc3339(Time::from_seconds(-1)), "1969-12-31T23:59:59Z");
}

TEST(Json, round_trips_and_keeps_order_and_number_kinds) {
  auto v = json::parse(R"({"b":1,"a":[true,null,1.5,"x\u00e9\n"],"big":9007199254740993})");
  ASSERT_TRUE(v.ok()) << v.error().message;
  EXPECT_EQ(json::dump(*v), "{\"b\":1,\"a\":[true,null,1.5,\"xé\\n\"],\"big\":9007199254740993}");
  EXPECT_EQ((*v)["big"].as_int(), 9007199254740993);
}

TEST(Json, WhatIsWrittenReadsBackAsTheSameText) {
  for (const char* text : {"-0e8", "-0.0", "-0", "0", "1e21", "1e-7", "-1.5", "123456789012345678901234567890", "9223372036854775807", "-9223372036854775808"}) {
    std::string once = json::dump(*json::parse(text));
    EXPECT_EQ(json::dump(*json::parse(once)), once) << text;
  }
  EXPECT_EQ(json::dump(*json::parse("-0e8")), "0");
}

TEST(Json, errors_read_like_gos) {
  EXPECT_EQ(json::parse("{a}").error().message, "invalid character 'a' looking for beginning of object key string");
  EXPECT_EQ(json::parse("[1,").error().message, "unexpected end of JSON input");
  EXPECT_EQ(json::parse("1 2").error().message, "invalid character '2' after top-level value");
  EXPECT_FALSE(json::parse(std::string(100000, '[')).ok());
}

TEST(Json, reports_duplicate_keys_with_their_path) {
  std::vector<std::string> dup;
  auto v = json::parse(R"({"spec":{"a":1,"a":2}})", {.duplicates = &dup});
  ASSERT_TRUE(v.ok());
  EXPECT_EQ(dup, std::vector<std::string>{"spec.a"});
  EXPECT_EQ((*v)["spec"]["a"].as_int(), 2);
}

TEST(Yaml, reads_what_people_write) {
  auto v = yaml::parse("a: 1\nb: 'yes'\nc: yes\nd: [x, 2.5]\ne: |\n  line\nf: 010\ng: 1Gi\n");
  ASSERT_TRUE(v.ok()) << v.error().message;
  EXPECT_EQ(json::dump(*v), R"({"a":1,"b":"yes","c":true,"d":["x",2.5],"e":"line\n","f":8,"g":"1Gi"})");
}

TEST(Yaml, refuses_a_bomb_and_a_duplicate_key) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += format("a%d: &a%d [", i, i);
    for (int j = 0; j < 10; ++j) bomb += format("%s*a%d", j ? "," : "", i - 1);
    bomb += "]\n";
  }
  EXPECT_FALSE(yaml::parse(bomb).ok());
  EXPECT_EQ(yaml::parse("a: 1\na: 2\n").error().message, "line 2: key \"a\" already set in map");
}

TEST(Yaml, dump_reads_back_the_same) {
  auto v = json::parse(R"({"a":{"b":["x",{"c":"1","d":"multi\nline\n"}],"e":[]},"t":"true","n":null,"s":"a: b"})");
  auto back = yaml::parse(yaml::dump(*v));
  ASSERT_TRUE(back.ok()) << back.error().message << "\n"
                         << yaml::dump(*v);
  EXPECT_TRUE(*back == *v) << yaml::dump(*v);
}

TEST(Yaml, dump_reads_back_names_of_any_length) {
  for (size_t length : {999, 1000, 1001, 1024, 1025, 70000}) {
    json::Value v = json::Value::object(), inner = json::Value::object();
    inner[std::string(length, 'k')] = json::Value("text\nof two lines\n");
    inner[std::string(length, '"')] = *json::parse(R"(["x",{"y":[]}])");
    inner[std::string(length, ' ')] = *json::parse(R"({"z":1})");
    v["list"] = *json::parse("[1]");
    v["list"].push_back(inner);
    v["map"] = inner;
    auto back = yaml::parse(yaml::dump(v));
    ASSERT_TRUE(back.ok()) << length << ": " << back.error().message;
    EXPECT_EQ(json::dump_sorted(*back), json::dump_sorted(v)) << length;
  }
}

TEST(Clock, formats_and_parses) {
  auto t = parse_rfc3339("2026-02-28T23:59:59.25+01:00");
  ASSERT_TRUE(t.ok());
  EXPECT_EQ(format_rfc3339(*t), "2026-02-28T22:59:59Z");
  EXPECT_EQ(format_rfc3339_micro(*t), "2026-02-28T22:59:59.250000Z");
  EXPECT_EQ(format_duration(std::chrono::minutes(90)), "1h30m0s");
  EXPECT_EQ(*parse_duration("1h30m"), Duration(std::chrono::minutes(90)));
  EXPECT_EQ(human_duration(std::chrono::seconds(190)), "3m10s");
}

Task<int> add_later(Executor& ex, int a, int b) {
  co_await sleep(ex, 5s);
  co_return a + b;
}

Task<int> count_sync(int n) {
  struct Step {
    static Task<int> one() { co_return 1; }
  };
  int sum = 0;
  for (int i = 0; i < n; ++i) sum += co_await Step::one();
  co_return sum;
}

TEST(Task, awaits_in_virtual_time_and_uses_bounded_stack) {
  VirtualExecutor ex(1);
  Time start = ex.now();
  EXPECT_EQ(run_task(ex, add_later(ex, 2, 3)), 5);
  EXPECT_EQ(ex.now() - start, Duration(5s));
  EXPECT_EQ(run_task(ex, count_sync(1'000'000)), 1'000'000);
}

Task<void> waiter(Event& e, int& hits) {
  bool in_time = co_await e.wait(1s);
  hits += in_time ? 1 : 100;
}

TEST(Scope, events_time_out_and_cancelled_tasks_stop) {
  VirtualExecutor ex(1);
  Event e(ex);
  int hits = 0;
  {
    TaskScope scope;
    scope.spawn(waiter(e, hits));
    ex.run_for(500ms);
    e.pulse();
    ex.run_ready();
    EXPECT_EQ(hits, 1);
    scope.spawn(waiter(e, hits));
    ex.run_for(2s);
    EXPECT_EQ(hits, 101);
    scope.spawn(waiter(e, hits));
    EXPECT_EQ(scope.running(), 1u);
  }
  ex.run_for(5s);
  EXPECT_EQ(hits, 101);
}

TEST(Flags, names_the_nearest_flag) {
  std::vector<Flag> table{{"data-dir", "DIR", "where"}, {"hollow", "", "simulated nodes"}};
  EXPECT_EQ(Flags::parse(table, {"--data-dri", "x"}).error().message, "unknown flag --data-dri; did you mean --data-dir?");
  auto f = Flags::parse(table, {"--data-dir=x", "--hollow", "rest"});
  ASSERT_TRUE(f.ok());
  EXPECT_EQ(f->get("data-dir"), "x");
  EXPECT_TRUE(f->on("hollow"));
}

}  // namespace
TEST(Json, ACopyOfAFrozenDocumentSharesWhatItDoesNotChange) {
  json::Value v = *json::parse(R"({"metadata":{"name":"a","labels":{"x":"1"}},"spec":{"list":[{"n":1},{"n":2}]},"empty":{}})");
  v.freeze();
  json::Value copy = v;
  EXPECT_EQ(&std::as_const(copy)["spec"].as_object(), &std::as_const(v)["spec"].as_object());
  copy["metadata"]["labels"]["x"] = "2";
  EXPECT_EQ(std::as_const(v)["metadata"]["labels"]["x"].as_string(), "1");
  EXPECT_EQ(std::as_const(copy)["metadata"]["labels"]["x"].as_string(), "2");
  EXPECT_EQ(&std::as_const(copy)["spec"].as_object(), &std::as_const(v)["spec"].as_object()) << "nobody wrote there";
  copy["spec"]["list"].arr()[1]["n"] = 3;
  copy["empty"]["now"] = "not";
  EXPECT_EQ(json::dump(v), R"({"metadata":{"name":"a","labels":{"x":"1"}},"spec":{"list":[{"n":1},{"n":2}]},"empty":{}})");
  EXPECT_EQ(json::dump(copy), R"({"metadata":{"name":"a","labels":{"x":"2"}},"spec":{"list":[{"n":1},{"n":3}]},"empty":{"now":"not"}})");
}

TEST(Json, TheLastOwnerOfAFrozenDocumentWritesInPlaceAndItsPartsOutliveIt) {
  json::Value part;
  {
    json::Value v = *json::parse(R"({"a":{"b":[1,2]}})");
    v.freeze();
    part = std::as_const(v)["a"];
  }
  const json::Object* before = &part.as_object();
  part["b"].push_back(3);
  EXPECT_EQ(&part.as_object(), before);
  EXPECT_EQ(json::dump(part), R"({"b":[1,2,3]})");
}

TEST(Json, AFrozenObjectThatWasEmptiedCanBeFilledThroughACopy) {
  json::Value v = json::Value::object();
  v["a"]["b"] = 1;
  v["a"].erase("b");
  v.freeze();
  json::Value copy = v;
  copy["a"]["c"] = 2;
  EXPECT_EQ(json::dump(v), R"({"a":{}})");
  EXPECT_EQ(json::dump(copy), R"({"a":{"c":2}})");
}

TEST(Json, LookingUpThroughAMutableValueLeavesAFrozenOneShared) {
  json::Value v = *json::parse(R"({"a":{"b":1}})");
  v.freeze();
  json::Value copy = v;
  EXPECT_EQ(copy.find("absent"), nullptr);
  EXPECT_FALSE(copy.erase("absent"));
  EXPECT_EQ(&copy.as_object(), &v.as_object());
}

// Names of every length around the sixteen bytes that a Key is.
TEST(JsonKey, IsItsTextWhateverItsLengthAndOrigin) {
  const std::string letters = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop";
  for (size_t n = 0; n < 40; ++n) {
    const std::string text = letters.substr(0, n);
    const json::Key key(text), copy = key;
    const json::Name name{std::string_view(letters).substr(0, n)};
    const json::Key of_name(name);
    EXPECT_EQ(key.view(), text);
    EXPECT_EQ(copy.str(), text);
    EXPECT_EQ(of_name.view(), text);
    EXPECT_EQ(name.view(), text);
    EXPECT_EQ(key.size(), n);
    EXPECT_EQ(key.empty(), n == 0);
    EXPECT_TRUE(key == copy && key == of_name && of_name == key && key == text && text == key);
    EXPECT_TRUE(key.is(name) && of_name.is(name)) << n;
    EXPECT_TRUE(json::Key::Probe(text).is(key) && json::Key::Probe(text).is(of_name));
    if (n == 0) continue;
    std::string other = text;
    other.back() = 'A';
    EXPECT_FALSE(key == json::Key(other) || key == other || json::Key(other).is(name) || json::Key::Probe(other).is(key)) << n;
    EXPECT_FALSE(key.is(json::Name(std::string_view(letters).substr(0, n - 1))));
  }
}

TEST(JsonKey, IsOrderedBytewise) {
  const std::vector<std::string> texts = {"", "a", std::string("a\0", 2), "aa", "ab", "abcdefghijklmno", "abcdefghijklmnop", "abcdefghijklmnopq", "b", "\x7f", "\x80", "\xff"};
  for (auto& a : texts)
    for (auto& b : texts) {
      EXPECT_EQ(json::Key(a) < json::Key(b), a < b) << a << " " << b;
      EXPECT_EQ(json::Key(a) < b, a < b);
      EXPECT_EQ(json::Key(a) == json::Key(b), a == b);
    }
}

TEST(JsonKey, CopiesOutliveTheKeyThatTheyWereMadeFrom) {
  json::Key copy, moved;
  {
    json::Key first("a name that is longer than sixteen bytes");
    copy = first;
    moved = std::move(first);
    EXPECT_TRUE(first.empty());
  }
  copy = copy.str() + "!";
  EXPECT_EQ(moved, "a name that is longer than sixteen bytes");
  EXPECT_EQ(copy, "a name that is longer than sixteen bytes!");
}

// Strings are read and written eight bytes at a time: what must be escaped may stand at any place.
TEST(Json, EscapesWhereverTheyStand) {
  for (const std::string& odd : {std::string("\""), std::string("\\"), std::string("\n"), std::string("\x01"), std::string("\0", 1), std::string("\xc3\xa4"), std::string("\x7f"), std::string("\x1f")})
    for (size_t size = 1; size < 20; ++size)
      for (size_t at = 0; at < size; ++at) {
        std::string text(size, ' ');
        text.replace(at, 1, odd);
        json::Value v = json::Value::object();
        v[text] = text;
        const std::string written = json::dump(v);
        EXPECT_EQ(written, "{" + json::quote(text) + ":" + json::quote(text) + "}");
        auto read = json::parse(written);
        ASSERT_TRUE(read.ok()) << written;
        EXPECT_EQ(std::as_const(*read)[text].as_string(), text);
      }
  EXPECT_EQ(json::quote("a\x01z\"c\\\n\r\t\x1f"), R"("a\u0001z\"c\\\n\r\t\u001f")");
  const std::string large(5000, 'x');
  EXPECT_EQ(json::quote(large + "\n" + large), "\"" + large + "\\n" + large + "\"");
  EXPECT_EQ(json::parse("[\"" + large + "\\n\"]")->at(0).as_string(), large + "\n");
  EXPECT_EQ(json::parse("\"abcdefgh\xff\"")->as_string(), "abcdefgh\xef\xbf\xbd") << "as Go does";
}

TEST(Json, PathsOfDuplicatesNameItemsToo) {
  std::vector<std::string> found;
  json::ParseOptions o;
  o.duplicates = &found;
  ASSERT_TRUE(json::parse(R"({"a":[{"b":1},{"b":1,"b":2}],"c":{"d":1,"d":{"e":1,"e":2}},"a":1})", o).ok());
  EXPECT_EQ(found, std::vector<std::string>({"a[1].b", "c.d", "c.d.e", "a"}));
}

TEST(VirtualExecutor, TimersOfOneInstantRunInTheirOrderThoughSlotsAreUsedAgain) {
  VirtualExecutor ex(1);
  std::string ran;
  auto note = [&](char c) { return [&ran, c] { ran += c; }; };
  auto a = ex.run_after(1s, note('a'));
  ex.run_after(1s, note('b'));
  ex.cancel(a);
  ex.cancel(a);
  ex.run_after(1s, note('c'));  // in the slot of a
  ex.run_after(500ms, [&] {
    ran += '0';
    ex.run_after(500ms, note('d'));
  });
  ex.run_after(1s, note('e'));
  EXPECT_EQ(ex.pending(), 4u);
  ex.run_for(2s);
  EXPECT_EQ(ran, "0bced");
  EXPECT_EQ(ex.pending(), 0u);
  ex.cancel(a);
}

}  // namespace caravel
