/* The C interface from C: two nodes on loopback, and what it says to arguments that are wrong. */
#define _POSIX_C_SOURCE 200809L
#include <barrel_p2p/c.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 60000 }; /* for anything that must come */

static char root[] = "/tmp/barrel_p2p-c-XXXXXX";

static void fail(int line, const char *what) {
  printf("interface_test.c:%d: %s (last message: %s)\n", line, what, barrel_p2p_error_message());
  exit(1);
}
#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))
#define OK(call) CHECK((call) == BARREL_P2P_OK)
/* The call fails with the error, and the message says so. */
#define FAILS(error, call)                                                                                           \
  do {                                                                                                               \
    CHECK((call) == (error));                                                                                        \
    CHECK(strncmp(barrel_p2p_error_message(), barrel_p2p_error_name(error), strlen(barrel_p2p_error_name(error))) == \
          0);                                                                                                        \
  } while (0)

static barrel_p2p_bytes term(const char *text) {
  barrel_p2p_bytes made;
  OK(barrel_p2p_term_from_text(text, &made));
  return made;
}

/* Whether a term prints as this text; frees it. */
static int is(barrel_p2p_bytes *bytes, const char *text) {
  barrel_p2p_bytes printed;
  int same;
  OK(barrel_p2p_term_to_text(bytes->data, bytes->size, &printed));
  same = strcmp((const char *)printed.data, text) == 0;
  if (!same) printf("%s instead of %s\n", (const char *)printed.data, text);
  barrel_p2p_bytes_clear(&printed);
  barrel_p2p_bytes_clear(bytes);
  return same;
}

static int receives(barrel_p2p_mailbox *mailbox, const char *text) {
  barrel_p2p_bytes message;
  OK(barrel_p2p_mailbox_receive(mailbox, PATIENCE_MS, &message));
  return is(&message, text);
}

static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER; /* of two nodes, each of which calls one at a time */
static int lines_logged;
static void log_line(void *user, int level, const char *line) {
  (void)level;
  if (strstr(line, "@127.0.0.1") == NULL) return;
  pthread_mutex_lock(&log_mutex);
  ++*(int *)user;
  pthread_mutex_unlock(&log_mutex);
}

static barrel_p2p_node *start(const char *name, const char *contact) {
  barrel_p2p_options options = BARREL_P2P_OPTIONS_INIT;
  barrel_p2p_node *node = NULL;
  char data[256];
  char discovery[256];
  snprintf(data, sizeof(data), "%s/%s", root, name);
  snprintf(discovery, sizeof(discovery), "%s/discovery", root);
  options.name = name;
  options.cookie = "secret";
  options.data_dir = data;
  options.discovery_dir = discovery;
  options.contact = contact;
  options.log = log_line;
  options.log_user = &lines_logged;
  OK(barrel_p2p_start(&options, &node));
  CHECK(strcmp(barrel_p2p_name(node), name) == 0);
  CHECK(barrel_p2p_port(node) != 0);
  return node;
}

static barrel_p2p_mailbox *mailbox_of(barrel_p2p_node *node, const char *name) {
  barrel_p2p_mailbox *mailbox = NULL;
  OK(barrel_p2p_mailbox_open(node, name, &mailbox));
  return mailbox;
}

static void terms(void) {
  barrel_p2p_bytes tuple = term("{point, 1, <<\"north\">>, [a | b]}.");
  barrel_p2p_bytes element;
  barrel_p2p_bytes bytes;
  OK(barrel_p2p_term_element(tuple.data, tuple.size, 2, &element));
  OK(barrel_p2p_term_to_binary(element.data, element.size, &bytes));
  CHECK(bytes.size == 5 && strcmp((const char *)bytes.data, "north") == 0);
  barrel_p2p_bytes_clear(&bytes);
  CHECK(bytes.data == NULL && bytes.size == 0);
  FAILS(BARREL_P2P_NOT_FOUND, barrel_p2p_term_element(tuple.data, tuple.size, 4, &bytes));
  FAILS(BARREL_P2P_TYPE_MISMATCH, barrel_p2p_term_element(element.data, element.size, 0, &bytes));
  FAILS(BARREL_P2P_TYPE_MISMATCH, barrel_p2p_term_to_binary(tuple.data, tuple.size, &bytes));
  barrel_p2p_bytes_clear(&element);
  CHECK(is(&tuple, "{point,1,<<\"north\">>,[a|b]}"));

  OK(barrel_p2p_term_from_binary("\0\1", 2, &bytes));
  CHECK(is(&bytes, "<<0,1>>"));
  OK(barrel_p2p_term_from_binary(NULL, 0, &bytes));
  CHECK(is(&bytes, "<<>>"));
  FAILS(BARREL_P2P_MALFORMED_TERM, barrel_p2p_term_from_text("{1, 2", &bytes));
  CHECK(bytes.data == NULL && bytes.size == 0);
  FAILS(BARREL_P2P_MALFORMED_TERM, barrel_p2p_term_to_text("no term", 7, &bytes));
  FAILS(BARREL_P2P_TRAILING_BYTES, barrel_p2p_term_to_text("\203a\1a", 4, &bytes));
  FAILS(BARREL_P2P_MALFORMED_TERM, barrel_p2p_term_to_text("", 0, &bytes));

  CHECK(strcmp(barrel_p2p_error_name(BARREL_P2P_NO_SUCH_MAP), "no_such_map") == 0);
  CHECK(strcmp(barrel_p2p_error_name(BARREL_P2P_NOT_SUPPORTED), "not_supported") == 0);
  CHECK(strcmp(barrel_p2p_error_name(BARREL_P2P_INTERNAL_ERROR), "internal_error") == 0);
  CHECK(strcmp(barrel_p2p_error_name(41), "unknown") == 0 && strcmp(barrel_p2p_error_name(-1), "unknown") == 0);
  CHECK(strchr(barrel_p2p_version(), '.') != NULL);
}

/* Every pointer of every function. */
static void null_arguments(void) {
  barrel_p2p_node *node = start("n@127.0.0.1", NULL);
  barrel_p2p_mailbox *box = mailbox_of(node, NULL);
  barrel_p2p_mailbox *none = NULL;
  barrel_p2p_options options = BARREL_P2P_OPTIONS_INIT;
  barrel_p2p_node *other = NULL;
  barrel_p2p_bytes t = term("[]");
  barrel_p2p_bytes to = term("somebody");
  barrel_p2p_bytes out;
  barrel_p2p_fence fence;
  char **names = NULL;
#define BAD(call) FAILS(BARREL_P2P_INVALID_ARGUMENT, call)
  BAD(barrel_p2p_start(NULL, &other));
  BAD(barrel_p2p_start(&options, NULL));
  BAD(barrel_p2p_stop(NULL));
  BAD(barrel_p2p_join(NULL, "a@b"));
  BAD(barrel_p2p_join(node, NULL));
  BAD(barrel_p2p_leave(NULL));
  BAD(barrel_p2p_joined(NULL, 2, 0));
  BAD(barrel_p2p_joined(node, 2, -1));
  BAD(barrel_p2p_members(NULL, &names));
  BAD(barrel_p2p_members(node, NULL));
  BAD(barrel_p2p_active_view(NULL, &names));
  BAD(barrel_p2p_active_view(node, NULL));
  BAD(barrel_p2p_broadcast(NULL, t.data, t.size, t.data, t.size));
  BAD(barrel_p2p_broadcast(node, NULL, 1, t.data, t.size));
  BAD(barrel_p2p_broadcast(node, t.data, t.size, NULL, 0));
  BAD(barrel_p2p_mailbox_open(NULL, NULL, &none));
  BAD(barrel_p2p_mailbox_open(node, NULL, NULL));
  BAD(barrel_p2p_mailbox_receive(NULL, 0, &out));
  BAD(barrel_p2p_mailbox_receive(box, 0, NULL));
  BAD(barrel_p2p_mailbox_pid(NULL, &out));
  BAD(barrel_p2p_mailbox_pid(box, NULL));
  BAD(barrel_p2p_subscribe(NULL, BARREL_P2P_TOPIC_SERVICES, NULL));
  BAD(barrel_p2p_subscribe(box, BARREL_P2P_TOPIC_MAP, NULL));
  BAD(barrel_p2p_subscribe(box, 77, NULL));
  BAD(barrel_p2p_send(NULL, t.data, t.size, t.data, t.size));
  BAD(barrel_p2p_send(node, NULL, 0, t.data, t.size));
  BAD(barrel_p2p_send(node, to.data, to.size, NULL, 0));
  BAD(barrel_p2p_send_name(NULL, "x", NULL, t.data, t.size));
  BAD(barrel_p2p_send_name(node, NULL, NULL, t.data, t.size));
  BAD(barrel_p2p_send_name(node, "x", NULL, NULL, 0));
  BAD(barrel_p2p_call(NULL, t.data, t.size, t.data, t.size, 0, &out));
  BAD(barrel_p2p_call(node, NULL, 0, t.data, t.size, 0, &out));
  BAD(barrel_p2p_call(node, to.data, to.size, t.data, t.size, 0, NULL));
  BAD(barrel_p2p_call_name(NULL, "x", NULL, t.data, t.size, 0, &out));
  BAD(barrel_p2p_call_name(node, NULL, NULL, t.data, t.size, 0, &out));
  BAD(barrel_p2p_call_name(node, "x", NULL, NULL, 0, 0, &out));
  BAD(barrel_p2p_call_name(node, "x", NULL, t.data, t.size, -5, &out));
  BAD(barrel_p2p_call_name(node, "x", NULL, t.data, t.size, 0, NULL));
  BAD(barrel_p2p_call_function(NULL, "a@b", "m", "f", t.data, t.size, 0, &out));
  BAD(barrel_p2p_call_function(node, NULL, "m", "f", t.data, t.size, 0, &out));
  BAD(barrel_p2p_call_function(node, "a@b", NULL, "f", t.data, t.size, 0, &out));
  BAD(barrel_p2p_call_function(node, "a@b", "m", NULL, t.data, t.size, 0, &out));
  BAD(barrel_p2p_call_function(node, "a@b", "m", "f", NULL, 0, 0, &out));
  BAD(barrel_p2p_call_function(node, "a@b", "m", "f", t.data, t.size, 0, NULL));
  BAD(barrel_p2p_call_request(NULL, 0, &out));
  BAD(barrel_p2p_call_request(t.data, t.size, NULL));
  BAD(barrel_p2p_reply(NULL, t.data, t.size, t.data, t.size));
  BAD(barrel_p2p_reply(box, NULL, 0, t.data, t.size));
  BAD(barrel_p2p_register_service(NULL, "x", NULL, 0));
  BAD(barrel_p2p_register_service(box, NULL, NULL, 0));
  BAD(barrel_p2p_unregister_service(NULL, "x"));
  BAD(barrel_p2p_unregister_service(node, NULL));
  BAD(barrel_p2p_lookup(NULL, "x", 0, &out, NULL));
  BAD(barrel_p2p_lookup(node, NULL, 0, &out, NULL));
  BAD(barrel_p2p_services(NULL, &names));
  BAD(barrel_p2p_services(node, NULL));
  BAD(barrel_p2p_map_open(NULL, "m", 0));
  BAD(barrel_p2p_map_open(node, NULL, 0));
  BAD(barrel_p2p_map_delete(NULL, "m"));
  BAD(barrel_p2p_map_delete(node, NULL));
  BAD(barrel_p2p_map_put(NULL, "m", t.data, t.size, t.data, t.size));
  BAD(barrel_p2p_map_put(node, NULL, t.data, t.size, t.data, t.size));
  BAD(barrel_p2p_map_put(node, "m", NULL, 0, t.data, t.size));
  BAD(barrel_p2p_map_put(node, "m", t.data, t.size, NULL, 0));
  BAD(barrel_p2p_map_remove(NULL, "m", t.data, t.size));
  BAD(barrel_p2p_map_remove(node, NULL, t.data, t.size));
  BAD(barrel_p2p_map_remove(node, "m", NULL, 0));
  BAD(barrel_p2p_map_get(NULL, "m", t.data, t.size, &out));
  BAD(barrel_p2p_map_get(node, NULL, t.data, t.size, &out));
  BAD(barrel_p2p_map_get(node, "m", NULL, 0, &out));
  BAD(barrel_p2p_map_get(node, "m", t.data, t.size, NULL));
  BAD(barrel_p2p_map_each(node, "m", NULL, NULL));
  BAD(barrel_p2p_lead(NULL, "x", 0, 0, NULL));
  BAD(barrel_p2p_lead(box, NULL, 0, 0, NULL));
  BAD(barrel_p2p_resign(NULL, "x"));
  BAD(barrel_p2p_resign(box, NULL));
  BAD(barrel_p2p_leader(NULL, "x", &out, NULL));
  BAD(barrel_p2p_leader(node, NULL, &out, NULL));
  BAD(barrel_p2p_get_fence(NULL, "x", &fence));
  BAD(barrel_p2p_get_fence(node, NULL, &fence));
  BAD(barrel_p2p_get_fence(node, "x", NULL));
  BAD(barrel_p2p_term_from_text(NULL, &out));
  BAD(barrel_p2p_term_from_text("[]", NULL));
  BAD(barrel_p2p_term_to_text(NULL, 1, &out));
  BAD(barrel_p2p_term_to_text(t.data, t.size, NULL));
  BAD(barrel_p2p_term_from_binary(NULL, 1, &out));
  BAD(barrel_p2p_term_from_binary("", 0, NULL));
  BAD(barrel_p2p_term_to_binary(NULL, 1, &out));
  BAD(barrel_p2p_term_element(NULL, 1, 0, &out));
#undef BAD
  CHECK(barrel_p2p_name(NULL) == NULL && barrel_p2p_port(NULL) == 0 && barrel_p2p_mailbox_fd(NULL) == -1);
  CHECK(barrel_p2p_is_leader(NULL, "x") == 0 && barrel_p2p_is_leader(node, NULL) == 0);
  barrel_p2p_free(NULL);
  barrel_p2p_mailbox_free(NULL);
  barrel_p2p_bytes_clear(NULL);
  barrel_p2p_names_free(NULL);
  barrel_p2p_bytes_clear(&t);
  barrel_p2p_bytes_clear(&to);
  barrel_p2p_mailbox_free(box);
  barrel_p2p_free(node);
}

static void options_are_checked(void) {
  barrel_p2p_options options = BARREL_P2P_OPTIONS_INIT;
  barrel_p2p_node *node = NULL;
  char text[512];
  FAILS(BARREL_P2P_INVALID_CONFIG, barrel_p2p_start(&options, &node)); /* no name */
  CHECK(node == NULL);
  options.name = "nobody";
  FAILS(BARREL_P2P_INVALID_CONFIG, barrel_p2p_start(&options, &node));
  options.name = NULL;
  options.config_text = "nmae = \"t@127.0.0.1\"\n";
  FAILS(BARREL_P2P_INVALID_CONFIG, barrel_p2p_start(&options, &node));
  CHECK(strstr(barrel_p2p_error_message(), "nmae") != NULL);
  options.config_file = "/nowhere";
  FAILS(BARREL_P2P_INVALID_ARGUMENT, barrel_p2p_start(&options, &node));
  options.config_text = NULL;
  CHECK(barrel_p2p_start(&options, &node) != BARREL_P2P_OK && node == NULL);
  options.config_file = NULL;
  options.size = 8;
  FAILS(BARREL_P2P_INVALID_ARGUMENT, barrel_p2p_start(&options, &node));

  options.size = sizeof(options) + 64; /* of a newer header; what is behind is not looked at */
  snprintf(text, sizeof(text), "name = \"t@127.0.0.1\"\ndata_dir = \"%s/t\"\ndist_cookie = \"x\"\nlog_level = \"off\"\n", root);
  {
    struct {
      barrel_p2p_options known;
      char newer[64];
    } extended;
    memset(&extended, 0, sizeof(extended));
    extended.known = options;
    extended.known.config_text = text;
    OK(barrel_p2p_start(&extended.known, &node));
  }
  CHECK(strcmp(barrel_p2p_name(node), "t@127.0.0.1") == 0);
  barrel_p2p_free(node);
}

static int count_pair(void *user, const void *key, size_t key_size, const void *value, size_t value_size) {
  (void)key, (void)value;
  CHECK(key_size > 1 && value_size > 1);
  return ++*(int *)user == 2; /* two are enough */
}

static void cluster(barrel_p2p_node *a, barrel_p2p_node *b) {
  char **names;
  OK(barrel_p2p_joined(b, 2, PATIENCE_MS));
  OK(barrel_p2p_joined(a, 2, PATIENCE_MS));
  for (;;) { /* leases come after the neighbours, and nobody tells of them */
    OK(barrel_p2p_members(b, &names));
    if (names[0] != NULL && names[1] != NULL) break;
    barrel_p2p_names_free(names);
    poll(NULL, 0, 5);
  }
  CHECK(strcmp(names[0], "a@127.0.0.1") == 0 && strcmp(names[1], "b@127.0.0.1") == 0 && names[2] == NULL);
  barrel_p2p_names_free(names);
  OK(barrel_p2p_active_view(a, &names));
  CHECK(strcmp(names[0], "b@127.0.0.1") == 0 && names[1] == NULL);
  barrel_p2p_names_free(names);
  FAILS(BARREL_P2P_CANNOT_JOIN_SELF, barrel_p2p_join(a, "a@127.0.0.1"));
  FAILS(BARREL_P2P_INVALID_NODE_NAME, barrel_p2p_join(a, "a"));
  FAILS(BARREL_P2P_TIMEOUT, barrel_p2p_joined(a, 3, 1));
}

static void maps(barrel_p2p_node *a, barrel_p2p_node *b) {
  barrel_p2p_mailbox *changes = mailbox_of(b, NULL);
  barrel_p2p_bytes key = term("limit");
  barrel_p2p_bytes value = term("#{per => second, count => 100}");
  barrel_p2p_bytes got;
  int visited = 0;
  FAILS(BARREL_P2P_NO_SUCH_MAP, barrel_p2p_map_get(a, "config", key.data, key.size, &got));
  FAILS(BARREL_P2P_NO_SUCH_MAP, barrel_p2p_map_each(a, "config", count_pair, &visited));
  FAILS(BARREL_P2P_NO_SUCH_MAP, barrel_p2p_subscribe(changes, BARREL_P2P_TOPIC_MAP, "config"));
  OK(barrel_p2p_map_open(a, "config", 1));
  OK(barrel_p2p_map_open(b, "config", 0));
  OK(barrel_p2p_subscribe(changes, BARREL_P2P_TOPIC_MAP, "config"));
  FAILS(BARREL_P2P_NOT_FOUND, barrel_p2p_map_get(a, "config", key.data, key.size, &got));
  OK(barrel_p2p_map_put(a, "config", key.data, key.size, value.data, value.size));
  OK(barrel_p2p_map_get(a, "config", key.data, key.size, &got));
  CHECK(is(&got, "#{count => 100,per => second}"));
  CHECK(receives(changes, "{barrel_p2p_map,config,{put,limit,#{count => 100,per => second}}}"));
  OK(barrel_p2p_map_get(b, "config", key.data, key.size, &got));
  CHECK(is(&got, "#{count => 100,per => second}"));
  OK(barrel_p2p_map_put(b, "config", value.data, value.size, key.data, key.size));
  OK(barrel_p2p_map_put(b, "config", "\203a\1", 3, key.data, key.size));
  OK(barrel_p2p_map_each(b, "config", count_pair, &visited));
  CHECK(visited == 2);
  OK(barrel_p2p_map_remove(a, "config", key.data, key.size));
  for (;;) {
    barrel_p2p_bytes message;
    barrel_p2p_bytes printed;
    int removed;
    OK(barrel_p2p_mailbox_receive(changes, PATIENCE_MS, &message));
    OK(barrel_p2p_term_to_text(message.data, message.size, &printed));
    removed = strcmp((const char *)printed.data, "{barrel_p2p_map,config,{remove,limit}}") == 0;
    barrel_p2p_bytes_clear(&message);
    barrel_p2p_bytes_clear(&printed);
    if (removed) break;
  }
  FAILS(BARREL_P2P_MALFORMED_TERM, barrel_p2p_map_put(a, "config", "?", 1, value.data, value.size));
  OK(barrel_p2p_map_delete(a, "config"));
  FAILS(BARREL_P2P_NO_SUCH_MAP, barrel_p2p_map_put(a, "config", key.data, key.size, value.data, value.size));
  barrel_p2p_bytes_clear(&key);
  barrel_p2p_bytes_clear(&value);
  barrel_p2p_mailbox_free(changes);
}

/* Answers one call with `{answer, Request}`. */
static void *answer_one(void *mailbox) {
  barrel_p2p_bytes message;
  barrel_p2p_bytes request;
  barrel_p2p_bytes answer;
  OK(barrel_p2p_mailbox_receive(mailbox, PATIENCE_MS, &message));
  OK(barrel_p2p_call_request(message.data, message.size, &request));
  CHECK(is(&request, "what"));
  answer = term("{answer, 42}");
  OK(barrel_p2p_reply(mailbox, message.data, message.size, answer.data, answer.size));
  barrel_p2p_bytes_clear(&answer);
  barrel_p2p_bytes_clear(&message);
  return NULL;
}

static void messages_and_services(barrel_p2p_node *a, barrel_p2p_node *b) {
  /* A reference of a@h, as Erlang's external format has it. */
  static const char alias[] = "\203Z\000\003w\003a@h\000\000\000\005\000\000\000\001\000\000\000\002\000\000\000\003";
  barrel_p2p_mailbox *here = mailbox_of(a, "inbox");
  barrel_p2p_mailbox *there = mailbox_of(b, "inbox");
  barrel_p2p_mailbox *second = NULL;
  barrel_p2p_bytes hello = term("{hello, \"you\"}");
  barrel_p2p_bytes what = term("what");
  barrel_p2p_bytes meta = term("#{cores => 8}");
  barrel_p2p_bytes pid;
  barrel_p2p_bytes at;
  barrel_p2p_bytes answer;
  struct pollfd readable;
  pthread_t server;
  char **names;

  FAILS(BARREL_P2P_ALREADY_REGISTERED, barrel_p2p_mailbox_open(a, "inbox", &second));
  CHECK(second == NULL);
  FAILS(BARREL_P2P_TIMEOUT, barrel_p2p_mailbox_receive(there, 0, &answer));
  readable.fd = barrel_p2p_mailbox_fd(there);
  readable.events = POLLIN;
  CHECK(poll(&readable, 1, 0) == 0);
  OK(barrel_p2p_send_name(a, "inbox", "b@127.0.0.1", hello.data, hello.size));
  CHECK(poll(&readable, 1, PATIENCE_MS) == 1);
  CHECK(receives(there, "{hello,\"you\"}"));
  CHECK(poll(&readable, 1, 0) == 0);
  OK(barrel_p2p_mailbox_pid(here, &pid));
  OK(barrel_p2p_send(b, pid.data, pid.size, hello.data, hello.size));
  CHECK(receives(here, "{hello,\"you\"}"));
  barrel_p2p_bytes_clear(&pid);
  FAILS(BARREL_P2P_NO_PROCESS, barrel_p2p_send_name(a, "nobody", NULL, hello.data, hello.size));
  FAILS(BARREL_P2P_TYPE_MISMATCH, barrel_p2p_send(a, meta.data, meta.size, hello.data, hello.size));

  FAILS(BARREL_P2P_NOT_FOUND, barrel_p2p_lookup(a, "oracle", 0, &pid, NULL));
  FAILS(BARREL_P2P_TYPE_MISMATCH, barrel_p2p_call_request(hello.data, hello.size, &answer));
  OK(barrel_p2p_register_service(there, "oracle", meta.data, meta.size));
  FAILS(BARREL_P2P_ALREADY_REGISTERED, barrel_p2p_register_service(there, "oracle", NULL, 0));
  OK(barrel_p2p_lookup(a, "oracle", PATIENCE_MS, &pid, &at));
  CHECK(strcmp((const char *)at.data, "b@127.0.0.1") == 0);
  OK(barrel_p2p_services(a, &names));
  CHECK(strcmp(names[0], "oracle") == 0 && names[1] == NULL);
  barrel_p2p_names_free(names);
  CHECK(pthread_create(&server, NULL, answer_one, there) == 0);
  OK(barrel_p2p_call(a, pid.data, pid.size, what.data, what.size, PATIENCE_MS, &answer));
  CHECK(is(&answer, "{answer,42}"));
  CHECK(pthread_join(server, NULL) == 0);
  FAILS(BARREL_P2P_TIMEOUT, barrel_p2p_call(a, pid.data, pid.size, what.data, what.size, 1, &answer));
  FAILS(BARREL_P2P_TYPE_MISMATCH, barrel_p2p_call(a, alias, sizeof alias - 1, what.data, what.size, PATIENCE_MS, &answer));
  FAILS(BARREL_P2P_NO_PROCESS, barrel_p2p_call_name(a, "nobody", "b@127.0.0.1", what.data, what.size, PATIENCE_MS, &answer));
  OK(barrel_p2p_unregister_service(b, "oracle"));
  FAILS(BARREL_P2P_NOT_FOUND, barrel_p2p_unregister_service(b, "oracle"));

  OK(barrel_p2p_call_function(a, "b@127.0.0.1", "erlang", "node", "\203j", 2, PATIENCE_MS, &answer));
  CHECK(is(&answer, "'b@127.0.0.1'"));
  FAILS(BARREL_P2P_UNDEFINED_FUNCTION,
        barrel_p2p_call_function(a, "b@127.0.0.1", "os", "cmd", "\203j", 2, PATIENCE_MS, &answer));

  OK(barrel_p2p_subscribe(here, BARREL_P2P_TOPIC_BROADCASTS, NULL));
  OK(barrel_p2p_broadcast(b, what.data, what.size, hello.data, hello.size));
  CHECK(receives(here, "{plumtree_broadcast,{what,{hello,\"you\"}}}"));

  barrel_p2p_mailbox_free(here);
  here = mailbox_of(a, "inbox"); /* the name is free again */
  barrel_p2p_mailbox_free(here);
  barrel_p2p_mailbox_free(there);
  barrel_p2p_bytes_clear(&hello);
  barrel_p2p_bytes_clear(&what);
  barrel_p2p_bytes_clear(&meta);
  barrel_p2p_bytes_clear(&pid);
  barrel_p2p_bytes_clear(&at);
}

/* More than a mailbox holds ready: the rest waits behind it, and all of it comes in order. */
static void many_messages(barrel_p2p_node *a, barrel_p2p_node *b) {
  enum { COUNT = 2000, SIZE = 4096 };
  static char filler[SIZE];
  barrel_p2p_mailbox *box = mailbox_of(b, "many");
  barrel_p2p_bytes message;
  barrel_p2p_bytes content;
  int number;
  for (number = 0; number < COUNT; ++number) {
    int result;
    snprintf(filler, sizeof(filler), "%d", number);
    OK(barrel_p2p_term_from_binary(filler, SIZE, &message));
    result = barrel_p2p_send_name(a, "many", "b@127.0.0.1", message.data, message.size);
    CHECK(result == BARREL_P2P_OK);
    barrel_p2p_bytes_clear(&message);
  }
  for (number = 0; number < COUNT; ++number) {
    OK(barrel_p2p_mailbox_receive(box, PATIENCE_MS, &message));
    OK(barrel_p2p_term_to_binary(message.data, message.size, &content));
    CHECK(content.size == SIZE && atoi((const char *)content.data) == number);
    barrel_p2p_bytes_clear(&message);
    barrel_p2p_bytes_clear(&content);
  }
  barrel_p2p_mailbox_free(box);
}

static void leaders(barrel_p2p_node *a, barrel_p2p_node *b) {
  barrel_p2p_mailbox *first = mailbox_of(a, NULL);
  barrel_p2p_mailbox *second = mailbox_of(b, NULL);
  barrel_p2p_bytes elected;
  barrel_p2p_bytes at;
  barrel_p2p_bytes name;
  barrel_p2p_fence before;
  barrel_p2p_fence after;
  int leads = 0;
  FAILS(BARREL_P2P_NO_LEADER, barrel_p2p_leader(a, "job", NULL, &at));
  FAILS(BARREL_P2P_NOT_LEADER, barrel_p2p_get_fence(a, "job", &before));
  OK(barrel_p2p_lead(first, "job", 5, 0, &leads));
  CHECK(leads == 1 && barrel_p2p_is_leader(a, "job") == 1);
  FAILS(BARREL_P2P_ALREADY_CANDIDATE, barrel_p2p_lead(first, "job", 5, 0, NULL));
  OK(barrel_p2p_leader(a, "job", NULL, &at));
  CHECK(strcmp((const char *)at.data, "a@127.0.0.1") == 0);
  barrel_p2p_bytes_clear(&at);
  OK(barrel_p2p_get_fence(a, "job", &before));
  /* The other one knows of it before it stands, or it would lead beside it for a moment. */
  while (barrel_p2p_leader(b, "job", NULL, NULL) != BARREL_P2P_OK) poll(NULL, 0, 1);
  OK(barrel_p2p_lead(second, "job", 0, 0, &leads));
  CHECK(leads == 0 && barrel_p2p_is_leader(b, "job") == 0);
  OK(barrel_p2p_resign(first, "job"));
  FAILS(BARREL_P2P_NOT_FOUND, barrel_p2p_resign(first, "job"));
  OK(barrel_p2p_mailbox_receive(second, PATIENCE_MS, &elected));
  OK(barrel_p2p_term_element(elected.data, elected.size, 1, &name));
  CHECK(is(&name, "job"));
  OK(barrel_p2p_get_fence(b, "job", &after));
  CHECK(memcmp(after.packed, before.packed, sizeof(after.packed)) > 0);
  CHECK(strlen(after.text) >= strlen(before.text) && strspn(after.text, "0123456789") == strlen(after.text));
  barrel_p2p_bytes_clear(&elected);
  barrel_p2p_mailbox_free(first);
  barrel_p2p_mailbox_free(second);
}

static void *receive_the_end(void *mailbox) {
  barrel_p2p_bytes message;
  FAILS(BARREL_P2P_CLOSED, barrel_p2p_mailbox_receive(mailbox, -1, &message));
  return NULL;
}

static void stopping(barrel_p2p_node *a, barrel_p2p_node *b) {
  barrel_p2p_mailbox *box = mailbox_of(a, "last");
  barrel_p2p_mailbox *late;
  barrel_p2p_bytes t = term("[]");
  barrel_p2p_bytes out;
  struct pollfd readable;
  pthread_t receiver;
  OK(barrel_p2p_register_service(box, "kept", NULL, 0));
  OK(barrel_p2p_leave(b));
  CHECK(pthread_create(&receiver, NULL, receive_the_end, box) == 0);
  OK(barrel_p2p_stop(a));
  CHECK(pthread_join(receiver, NULL) == 0);
  readable.fd = barrel_p2p_mailbox_fd(box);
  readable.events = POLLIN;
  CHECK(poll(&readable, 1, 0) == 1);
  OK(barrel_p2p_stop(a));
  CHECK(strcmp(barrel_p2p_name(a), "a@127.0.0.1") == 0);
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_join(a, "b@127.0.0.1"));
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_map_open(a, "late", 0));
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_call_name(a, "x", NULL, t.data, t.size, PATIENCE_MS, &out));
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_register_service(box, "late", NULL, 0));
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_unregister_service(a, "kept"));
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_resign(box, "job"));
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_mailbox_open(a, NULL, &late));
  CHECK(late == NULL);
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_mailbox_open(a, "late", &late));
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_subscribe(box, BARREL_P2P_TOPIC_MEMBERSHIP, NULL));
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_send_name(a, "last", NULL, t.data, t.size));
  OK(barrel_p2p_mailbox_pid(box, &out));
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_send(a, out.data, out.size, t.data, t.size));
  barrel_p2p_bytes_clear(&out);
  FAILS(BARREL_P2P_STOPPED, barrel_p2p_reply(box, t.data, t.size, t.data, t.size));
  barrel_p2p_free(a);
  FAILS(BARREL_P2P_CLOSED, barrel_p2p_mailbox_receive(box, 0, &out)); /* it outlives the node */
  barrel_p2p_mailbox_free(box);
  barrel_p2p_bytes_clear(&t);
  barrel_p2p_free(b);
}

int main(void) {
  char remove[64];
  barrel_p2p_node *a;
  barrel_p2p_node *b;
  CHECK(mkdtemp(root) != NULL);
  terms();
  options_are_checked();
  null_arguments();
  a = start("a@127.0.0.1", NULL);
  b = start("b@127.0.0.1", "a@127.0.0.1");
  cluster(a, b);
  maps(a, b);
  messages_and_services(a, b);
  many_messages(a, b);
  leaders(a, b);
  stopping(a, b);
  CHECK(lines_logged > 0);
  snprintf(remove, sizeof(remove), "rm -rf '%s'", root);
  if (system(remove) != 0) return 1;
  puts("the C interface does what it says");
  return 0;
}
