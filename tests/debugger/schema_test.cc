// The JSON of the commands against docs/schema/*.json. The validator knows what those schemas use and refuses a keyword
// that it does not know, so that a schema cannot ask for more than is checked.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <re2/re2.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "commands.h"
#include "fake_gc.h"
#include "fake_heap.h"
#include "fake_objects.h"
#include "fake_rings.h"
#include "fake_sched.h"

namespace vitrine::inspect {
namespace {

using nlohmann::json;

class Validator {
 public:
  explicit Validator(json root) : root_(std::move(root)) {}
  // "" when the value is valid, else the path and the reason.
  std::string check(const json& value) { return check(root_, value, "$"); }

 private:
  static bool is_type(const std::string& type, const json& v) {
    if (type == "object") return v.is_object();
    if (type == "array") return v.is_array();
    if (type == "string") return v.is_string();
    if (type == "integer") return v.is_number_integer();
    if (type == "boolean") return v.is_boolean();
    return type == "null" && v.is_null();
  }

  std::string check(const json& schema, const json& v, const std::string& path) {
    static const std::set<std::string> known = {"$schema",     "$id",         "title",
                                                "description", "definitions", "$ref",
                                                "type",        "required",    "additionalProperties",
                                                "properties",  "items",       "pattern",
                                                "enum",        "oneOf",       "anyOf",
                                                "minimum"};
    for (auto& [key, unused] : schema.items()) {
      if (!known.count(key)) return path + ": the schema uses " + key;
    }
    if (schema.contains("$ref")) {
      std::string ref = schema["$ref"];
      auto error = check(root_.at(json::json_pointer(ref.substr(1))), v, path);
      if (!error.empty()) return error;
    }
    for (const char* some : {"oneOf", "anyOf"}) {
      if (!schema.contains(some)) continue;
      int good = 0;
      std::string errors;
      for (const json& s : schema[some]) {
        auto error = check(s, v, path);
        good += error.empty();
        errors += error + "; ";
      }
      if (good == 0 || (some[0] == 'o' && good > 1)) return path + ": " + some + ": " + errors;
    }
    if (schema.contains("type")) {
      const json& t = schema["type"];
      bool ok = false;
      for (const json& one : t.is_array() ? t : json::array({t})) ok = ok || is_type(one, v);
      if (!ok) return path + ": is " + v.dump();
    }
    if (schema.contains("enum") && std::find(schema["enum"].begin(), schema["enum"].end(), v) == schema["enum"].end()) {
      return path + ": not in the enumeration: " + v.dump();
    }
    if (v.is_string() && schema.contains("pattern") &&
        !RE2::PartialMatch(v.get<std::string>(), schema["pattern"].get<std::string>())) {
      return path + ": does not match: " + v.dump();
    }
    if (v.is_number() && schema.contains("minimum") && v < schema["minimum"]) return path + ": too small";
    if (v.is_array() && schema.contains("items")) {
      for (std::size_t i = 0; i < v.size(); ++i) {
        auto error = check(schema["items"], v[i], path + "[" + std::to_string(i) + "]");
        if (!error.empty()) return error;
      }
    }
    if (!v.is_object()) return "";
    if (schema.contains("required")) {
      for (const json& key : schema["required"]) {
        if (!v.contains(key)) return path + ": lacks " + key.dump();
      }
    }
    for (auto& [key, value] : v.items()) {
      if (schema.contains("properties") && schema["properties"].contains(key)) {
        auto error = check(schema["properties"][key], value, path + "." + key);
        if (!error.empty()) return error;
      } else if (schema.contains("additionalProperties")) {
        return path + ": has " + key + ", which the schema does not know";
      }
    }
    return "";
  }
  json root_;
};

Validator schema(const std::string& name) {
  std::ifstream in(std::string(VITRINE_TEST_SOURCE) + "/docs/schema/" + name + ".json");
  return Validator(json::parse(in));
}

json run(Session& session, std::string_view line, std::string* errors = nullptr) {
  Collected sink;
  run_command(session, split(line), sink);
  if (errors) *errors = sink.errors;
  return json::parse(sink.text);
}

void make_trouble(FakeRuntime& runtime) {
  runtime.poke(FakeRuntime::kArray + 8 * 5, std::uint64_t{0x7f0000000000});  // an unreadable g
  runtime.count(6);
  runtime.goroutine(7, FakeRuntime::kWaiting, {0x9999, 0x5301});  // no function, no CFI
  runtime.poke(FakeRuntime::g(7) + FakeRuntime::gGopc, std::uint64_t{0});
  runtime.goroutine(8, 77, {0x5010, 0x5301});
  runtime.poke(FakeRuntime::g(8) + FakeRuntime::gHi, std::uint64_t{1});
  runtime.goroutine(9, FakeRuntime::kWaiting, {0x5010, 0x5301});
  runtime.poke(FakeRuntime::g(9) + FakeRuntime::gSp, std::uint64_t{0xdead0000});
}

TEST(Schema, GoroutineRowsAreAsDescribedAlsoWhenTheyAreBroken) {
  FakeRuntime runtime;
  make_trouble(runtime);
  auto session = runtime.session();
  for (const char* command :
       {"info goroutines -json", "info goroutines -json=full", "info goroutines -json -limit 2"}) {
    json rows = run(*session, command);
    EXPECT_EQ(schema("goroutines").check(rows), "") << command;
  }
  EXPECT_EQ(run(*session, "info goroutines -json").size(), 8u) << "every row, system and broken ones included";
  EXPECT_EQ(run(*session, "info goroutines -json=full -limit 2")["shown"], 2);
  EXPECT_EQ(run(*session, "info goroutines -json=full -limit 2")["total"], 8);
}

TEST(Schema, StacksAreAsDescribedAlsoWhenTheyAreBroken) {
  FakeRuntime runtime;
  make_trouble(runtime);
  auto session = runtime.session();
  for (const char* command :
       {"goroutine stacks -json", "goroutine stacks -json=full", "goroutine stacks -json -limit 1"}) {
    EXPECT_EQ(schema("stacks").check(run(*session, command)), "") << command;
  }
}

TEST(Schema, HistoriesAreAsDescribed) {
  FakeRings rings;
  rings.little();
  auto session = rings.session();
  for (const char* how : {" -json", " -json=full"}) {
    EXPECT_EQ(schema("history").check(run(*session, std::string("trace history") + how)), "") << how;
    EXPECT_EQ(schema("life").check(run(*session, std::string("goroutine 2 history") + how)), "") << how;
  }
}

TEST(Schema, TheSchedulersListsAreAsDescribedAlsoWhenTheyAreBroken) {
  for (bool broken : {false, true}) {
    FakeSched runtime;
    if (broken) {
      runtime.ring(7, 0x7f0000000000);
      runtime.poke(FakeSched::kHeap, std::uint64_t{0x7f0000000000});
      runtime.poke(FakeSched::kPoll, std::uint64_t{0x7f0000000000});
      runtime.poke(FakeSched::kP + 8, std::uint64_t{5});
      runtime.poke(FakeSched::kM + 16, std::uint64_t{5});
    }
    auto session = runtime.session();
    for (const char* name : {"sched", "ps", "ms", "timers", "netpoll"}) {
      for (const char* how : {" -json", " -json=full"}) {
        json rows = run(*session, std::string("info ") + name + how);
        EXPECT_EQ(schema(name).check(rows), "") << name << how;
        EXPECT_FALSE(rows.empty()) << name;
      }
    }
    json checked = run(*session, "info sched -check -json");
    EXPECT_EQ(schema("sched").check(checked), "");
    EXPECT_EQ(checked[0]["check"]["violations"] == 0, !broken);
  }
}

TEST(Schema, TheHeapsListsAreAsDescribedAlsoWhenTheyAreBroken) {
  using H = FakeHeap;
  for (bool broken : {false, true}) {
    FakeHeap heap;
    if (broken) {
      heap.poke(H::kAll, std::uint64_t{0x7f0000000000});
      heap.poke(H::span(H::partly) + H::sNelems, std::uint64_t{1} << 60);
      heap.poke(H::node(1) + H::nSpan, std::uint64_t{0x99});
      heap.poke(H::cache(1) + H::mcAlloc, std::uint64_t{0x99});
      heap.poke(H::kP1 + H::pMcache, std::uint64_t{0x7f0000000000});
      heap.poke(H::kIndex + 8 * (H::kArena / 0x80000), std::uint64_t{0});
    }
    auto session = heap.session();
    const std::pair<const char*, const char*> kCases[] = {
        {"mheap", "mheap"},
        {"mheap spans", "spans"},
        {"mheap span 0x40002000", "span"},
        {"mheap span 0x4000a000", "span"},
        {"mheap classes", "classes"},
        {"mheap arenas", "arenas"},
        {"mheap treap", "treap"},
        {"mheap stacks", "heap_stacks"},
        {"mheap check", "mheap_check"},
        {"mheap map", "mheap_map"},
        {"mcache", "mcache"},
        {"mcache 0", "mcache_parts"},
        {"mcentral", "mcentral"},
        {"mcentral 5", "mcentral_parts"},
        {"obj 0x40002030", "obj"},
        {"obj 0x4000dff0", "obj"},
        {"obj 0x6010", "obj"},
        {"obj 0x7f0000000000", "obj"},
    };
    for (auto& [command, name] : kCases) {
      for (const char* how : {" -json", " -json=full"}) {
        json rows = run(*session, std::string(command) + how);
        EXPECT_EQ(schema(name).check(rows), "") << command << how;
        const bool none = std::string_view(command) == "mheap check" && rows.is_array() && !broken;
        EXPECT_EQ(rows.empty(), none) << command << how;
      }
    }
    EXPECT_EQ(run(*session, "mheap spans -json").size(), 11u) << "every row, those without pages included";
  }
}

TEST(Schema, TheRowOfAParkedGoroutineIsComplete) {
  FakeRuntime runtime;
  auto session = runtime.session();
  json row = run(*session, "info goroutines -json -where 'goid = 2'")[0];
  EXPECT_EQ(row, json::parse(R"({"goid":2,"addr":"0x100200","status":"waiting","wait_reason":"chan receive",
    "waiting_on":"0xc0de00","age_ns":12000000000,"m":null,"p":null,"thread":null,"current":false,"system":false,
    "foreign":false,"noproc":false,"locked_m":null,
    "name":"reader","stack":{"lo":"0x1020000","hi":"0x1028000","used":368},
    "where":{"pc":"0x6130","function":"reader","file":"/src/app.cc","line":32},
    "start":{"pc":"0x6300","function":"entry","file":"/src/app.cc","line":70},
    "created_by":{"goid":1,"pc":"0x6221","function":"main_loop","file":"/src/app.cc","line":52},"labels":[],"errors":[]})"));
}

TEST(Schema, ObjectRowsAreAsDescribedAlsoWhenTheyAreBroken) {
  using O = FakeObjects;
  FakeObjects o;
  o.waits(6, O::rSend, O::kChan);
  o.poke(O::kElems, std::int32_t{77});
  o.enqueue(O::kChan + O::chanSendq, 1, 6, O::kElems);
  o.poke(O::sudog(1) + 8, std::uint64_t{0xdead0000});
  o.lock(0, 9);
  o.wait_for(0, 8);
  o.lock(1, 8);
  o.wait_for(1, 9);
  o.waits(10, O::rMutex, 0xdead0000);
  o.lock(2, 4711);
  o.wait_for(2, 11);
  auto session = o.session();
  for (const char* command :
       {"chan -json", "chan -json=full", "chan 0x4000000 -json", "chan 0x4000000 -json=full", "mutex -json",
        "mutex 0x4000800 -json", "mutex 0x4000850 -json", "sync -json", "sync semaphore 0x4000c00 -json"}) {
    EXPECT_EQ(schema("objects").check(run(*session, command)), "") << command;
  }
  for (const char* command : {"goroutine graph -json", "goroutine graph -json=full", "goroutine graph 8 -json",
                              "goroutine graph -json -limit 1"}) {
    EXPECT_EQ(schema("graph").check(run(*session, command)), "") << command;
  }
  json chan = run(*session, "chan 0x4000000 -json")[0];
  EXPECT_EQ(chan["values"], json::parse(R"(["11","12","-13"])"));
  EXPECT_EQ(chan["waiters"][0]["value"], "77");
  EXPECT_EQ(chan["errors"].size(), 1u);
  json graph = run(*session, "goroutine graph -json");
  EXPECT_EQ(graph[0]["goid"], 8);
  EXPECT_EQ(graph[0]["deadlock"], 1);
  EXPECT_EQ(graph[0]["waits_on"][0]["holder_goid"], 9);
}

TEST(Schema, KeysKeepTheirOrder) {
  FakeRuntime runtime;
  auto session = runtime.session();
  Collected sink;
  run_command(*session, split("info goroutines -json -limit 1"), sink);
  auto row = nlohmann::ordered_json::parse(sink.text)[0];
  std::string keys;
  for (auto& [key, value] : row.items()) keys += key + " ";
  EXPECT_EQ(
      keys,
      "goid addr status wait_reason waiting_on age_ns m p thread current system foreign noproc locked_m name stack "
      "where start created_by labels "
      "errors ");
}

TEST(Schema, WarningsDoNotSpoilABareArray) {
  FakeRuntime runtime;
  runtime.poke(FakeRuntime::kM + 40, FakeRuntime::kM);
  auto session = runtime.session();
  std::string errors;
  EXPECT_EQ(run(*session, "info goroutines -json", &errors).size(), 4u);
  EXPECT_EQ(errors, "warning: allm: the list comes back to the M at 0x30000; cut there\n");
  json full = run(*session, "info goroutines -json=full", &errors);
  EXPECT_EQ(full["warnings"].size(), 1u);
  EXPECT_EQ(errors, "");
}

TEST(Schema, AnAnnotatedRoutineIsAsDescribed) {
  Session session;
  session.program_file = std::string(VITRINE_TEST_BIN) + "/pipeline";
  for (const char* command : {"gotrace mcall -json", "gotrace mcall -json=full", "gotrace main -json"}) {
    std::string errors;
    json rows = run(session, command, &errors);
    EXPECT_EQ(schema("trace").check(rows), "") << command;
    EXPECT_EQ(errors, "") << command;
  }
  EXPECT_EQ(run(session, "gotrace mcall -json")[0]["differences"], json::array());
}

TEST(Schema, TheValidatorCanFail) {
  FakeRuntime runtime;
  auto session = runtime.session();
  json rows = run(*session, "info goroutines -json");
  rows[0]["goid"] = "one";
  EXPECT_NE(schema("goroutines").check(rows), "");
  rows = run(*session, "info goroutines -json");
  rows[0].erase("errors");
  EXPECT_NE(schema("goroutines").check(rows), "");
  rows = run(*session, "info goroutines -json");
  rows[0]["extra"] = 1;
  EXPECT_NE(schema("goroutines").check(rows), "");
}

TEST(Schema, NothingToListIsAnEmptyArray) {
  FakeRuntime runtime;
  runtime.count(0);
  auto session = runtime.session();
  EXPECT_EQ(run(*session, "info goroutines -json"), json::array());
  EXPECT_EQ(run(*session, "goroutine stacks -json"), json::array());
}

TEST(Schema, WhatTheCollectorsCommandsSayIsAsDescribed) {
  FakeGc heap;
  heap.left(0, 1);
  heap.left(1, 2);
  heap.poke(FakeGc::kHeadVar, FakeGc::object(0));
  heap.handle(FakeGc::object(3));
  auto session = heap.session();
  const std::string why = fmt::format("heap why {:#x}", FakeGc::object(2));
  // What one answer says is what heap diff reads.
  const std::string dir = testing::TempDir();
  std::ofstream(dir + "schema-a.json") << run(*session, "heap types -json");
  std::ofstream(dir + "schema-b.json") << run(*session, "heap types -live -json=full");
  const std::string diff = fmt::format("heap diff {0}schema-a.json {0}schema-b.json", dir);
  for (auto [command, name] : {std::pair<std::string, const char*>{"gc", "gc"},
                               {"heap types", "heap_types"},
                               {"heap roots", "heap_roots"},
                               {why, "heap_why"},
                               {"heap retained", "heap_retained"},
                               {diff, "heap_diff"},
                               {"goroutine leaks", "leaks"}}) {
    for (const char* option : {" -json", " -json=full"}) {
      json rows = run(*session, command + option);
      EXPECT_EQ(schema(name).check(rows), "") << command << rows.dump();
    }
  }
}

}  // namespace
}  // namespace vitrine::inspect
