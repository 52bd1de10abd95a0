// Messages, calls and answers.
#include "c/handles.hpp"

using namespace barrel_p2p;
using c::guarded;
using c::Output;

namespace barrel_p2p {
inline namespace v0 {
namespace c {
namespace {

Destination server_of(const Term& term) {
  if (term.as_pid() != nullptr) return *term.as_pid();
  if (const auto name = term.as_atom()) return *name;
  const bool is_pair = term.is_tuple(2) && term[0].is_atom() && term[1].is_atom();
  if (!is_pair) refuse(Errc::type_mismatch, "to: it is neither a pid, a name, nor {Name, Node}");
  return RemoteName(*term[0].as_atom(), value(NodeName::parse(term[1].as_atom()->text())));
}

Destination server_of(const void* to, std::size_t size) { return server_of(term_of(to, size, "to")); }

Destination destination_of(const void* to, std::size_t size) {
  const Term term = term_of(to, size, "to");
  if (term.as_reference() != nullptr) return *term.as_reference();
  return server_of(term);
}

Destination destination_of(const char* name, const char* at) {
  Atom process = atom_of(name, "name");
  if (at == nullptr) return process;
  return RemoteName(std::move(process), node_name_of(at, "at"));
}

}  // namespace
}  // namespace c
}  // namespace v0
}  // namespace barrel_p2p

int barrel_p2p_send(barrel_p2p_node* node, const void* to, size_t to_size, const void* message, size_t message_size) {
  return guarded([&] {
    c::value(
        c::running_node_of(node).send(c::destination_of(to, to_size), c::term_of(message, message_size, "message")));
  });
}

int barrel_p2p_send_name(barrel_p2p_node* node, const char* name, const char* at, const void* message,
                         size_t message_size) {
  return guarded([&] {
    c::value(c::running_node_of(node).send(c::destination_of(name, at), c::term_of(message, message_size, "message")));
  });
}

int barrel_p2p_call(barrel_p2p_node* node, const void* to, size_t to_size, const void* request, size_t request_size,
                    int64_t limit_ms, barrel_p2p_bytes* answer) {
  return guarded([&] {
    const Output output(answer, "answer");
    output.give_term(c::value(c::node_of(node).call(
        c::server_of(to, to_size), c::term_of(request, request_size, "request"), c::limit_of(limit_ms))));
  });
}

int barrel_p2p_call_name(barrel_p2p_node* node, const char* name, const char* at, const void* request,
                         size_t request_size, int64_t limit_ms, barrel_p2p_bytes* answer) {
  return guarded([&] {
    const Output output(answer, "answer");
    output.give_term(c::value(c::node_of(node).call(
        c::destination_of(name, at), c::term_of(request, request_size, "request"), c::limit_of(limit_ms))));
  });
}

int barrel_p2p_call_function(barrel_p2p_node* node, const char* at, const char* module, const char* function,
                             const void* arguments, size_t arguments_size, int64_t limit_ms, barrel_p2p_bytes* result) {
  return guarded([&] {
    const Output output(result, "result");
    const Term list = c::term_of(arguments, arguments_size, "arguments");
    if (!list.is_proper_list()) c::refuse(Errc::type_mismatch, "arguments: it is no list");
    output.give_term(c::value(c::node_of(node).call_function(
        c::node_name_of(at, "at"), c::atom_of(module, "module"), c::atom_of(function, "function"),
        std::vector<Term>(list.elements().begin(), list.elements().end()), c::limit_of(limit_ms))));
  });
}

int barrel_p2p_call_request(const void* message, size_t size, barrel_p2p_bytes* request) {
  return guarded([&] {
    const Output output(request, "request");
    const auto call = as_call(c::term_of(message, size, "message"));
    if (!call) c::refuse(Errc::type_mismatch, "it is no call");
    output.give_term(call->second);
  });
}

int barrel_p2p_reply(barrel_p2p_mailbox* mailbox, const void* message, size_t size, const void* answer,
                     size_t answer_size) {
  return guarded([&] {
    Node& node = c::running(*c::required(mailbox, "mailbox").state);
    const auto call = as_call(c::term_of(message, size, "message"));
    if (!call) c::refuse(Errc::type_mismatch, "it is no call");
    node.spawn([from = call->first, term = c::term_of(answer, answer_size, "answer")](Process& self) -> Task<> {
      co_await reply(self, from, term);
    });
  });
}
