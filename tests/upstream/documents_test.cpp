// The page about C++ nodes in a cluster of Erlang nodes: what it shows is evaluated there.
#include <gtest/gtest.h>

#include <barrel_p2p/node.hpp>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "upstream/mixed.hpp"

namespace barrel_p2p {
namespace {

struct DocumentedCounter : Server {
  std::int64_t count = 0;
  Task<std::optional<Term>> handle_call(Process& /*self*/, Term request, CallFrom /*from*/) override {
    if (request.is_atom("get")) co_return std::optional<Term>(count);
    co_return std::optional<Term>(Atom("unknown"));
  }
  Task<> handle_cast(Process& /*self*/, Term request) override {
    count += request.as_int64().value_or(0);
    co_return;
  }
};

/// What an Erlang program of the cluster can use of this node.
bool offer(Node& node) {
  const Pid counter = node.spawn(serve([] { return std::make_unique<DocumentedCounter>(); }));
  if (!node.register_process("counter", counter)) return false;  // {counter, Node}
  if (!node.register_service("counter", counter)) return false;  // barrel_p2p:whereis_service(counter)
  node.export_function("shop", "add", PlainCallable([](const std::vector<Term>& numbers) -> Result<Term> {  // rpc:call
                         if (numbers.size() != 2) return std::unexpected(Error(Errc::invalid_argument, "two numbers"));
                         return Term(numbers[0].as_int64().value_or(0) + numbers[1].as_int64().value_or(0));
                       }));
  return node.new_map("settings").has_value();  // shared by all that opened it
}

struct Example {
  std::string expression;
  std::string result;
};

std::vector<Example> examples() {
  std::ifstream file(std::string(BARREL_P2P_UPSTREAM_TESTS_DIR) + "/erlang_examples.erl");
  std::vector<Example> found;
  for (std::string line; std::getline(file, line);) {
    const std::string mark = "%=> ";
    if (line.starts_with(mark)) {
      found.back().result = line.substr(mark.size());
    } else if (!line.empty() && !line.starts_with('%')) {
      found.push_back({.expression = line.substr(0, line.size() - 1), .result = {}});
    }
  }
  return found;
}

class MixedDocuments : public test::MixedCluster {};

TEST_F(MixedDocuments, say_what_an_erlang_node_gets_from_a_cpp_node) {
  start_erlang("e1");
  if (IsSkipped()) return;
  start_cpp("c1");
  ASSERT_TRUE(offer(cpp("c1")));
  ASSERT_EQ(erlang("e1").eval("element(1, barrel_p2p:new_map(settings, #{}))"), Term(Atom("ok")));
  const auto all = examples();
  ASSERT_GT(all.size(), 8U);
  for (const auto& [expression, result] : all) {
    const Term wanted = parse_term(result).value();
    Term last;
    EXPECT_TRUE(test::becomes_true([&] { return (last = erlang("e1").eval(expression)) == wanted; }))
        << expression << " gave " << to_text(last);
  }
}

TEST_F(MixedDocuments, say_what_elixir_gets_from_a_cpp_node) {
  start_erlang("e1");
  if (IsSkipped()) return;
  if (erlang("e1").eval("code:which('Elixir.Code')").is_atom("non_existing")) {
    GTEST_SKIP() << "the Erlang node has no Elixir on its code path";
  }
  start_cpp("c1");
  ASSERT_TRUE(offer(cpp("c1")));
  std::ifstream file(std::string(BARREL_P2P_UPSTREAM_TESTS_DIR) + "/elixir_examples.exs");
  int evaluated = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    const std::string text = to_text(Term(line));  // <<"...">>, quoted as Erlang reads it
    EXPECT_TRUE(erlang("e1").becomes("is_tuple('Elixir.Code':eval_string(" + text + "))")) << line;
    ++evaluated;
  }
  EXPECT_GT(evaluated, 8);
}

}  // namespace
}  // namespace barrel_p2p
