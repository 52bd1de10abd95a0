/*
 * The C interface: a node, its cluster, services, maps, messages and leaders, for C and for every language that can
 * call C. C99; docs/c-interface.md shows it in use.
 *
 *   barrel_p2p_options options = BARREL_P2P_OPTIONS_INIT;
 *   barrel_p2p_node *node = NULL;
 *   options.name = "a@127.0.0.1";
 *   options.cookie = "secret";
 *   if (barrel_p2p_start(&options, &node) != BARREL_P2P_OK) puts(barrel_p2p_error_message());
 *
 * Results. Functions that return `int` return BARREL_P2P_OK or another barrel_p2p_error. Outputs are set only with
 * BARREL_P2P_OK; otherwise they are NULL, empty or 0. NULL for anything that is not said to be optional gives
 * BARREL_P2P_INVALID_ARGUMENT. Nothing is thrown, and nothing ends the program.
 *
 * Terms. Keys, values and messages are Erlang terms in the external format (`const void *` and a size). Nobody needs to
 * know it: barrel_p2p_term_from_text makes one from text like `{point, 1, 2}`, barrel_p2p_term_from_binary from bytes or
 * a string of the program's own.
 *
 * Ownership. What is passed in is copied before the function returns. What comes out as barrel_p2p_bytes or `char **`
 * belongs to the caller: barrel_p2p_bytes_clear, barrel_p2p_names_free. A `const char *` that is returned belongs to the
 * library; each function says how long it is valid.
 *
 * Threads. Every function may be called from any thread, at the same time as any other, but not while another thread
 * frees the handle that it is given. Functions that block say so. None of these may be called in a log callback.
 *
 * Stability. Within a soname functions and structs only get more, at their end; numbers of errors never change.
 */
#ifndef BARREL_P2P_C_H
#define BARREL_P2P_C_H

#include <stddef.h>
#include <stdint.h>

#if defined(BARREL_P2P_STATIC)
#define BARREL_P2P_C_API
#else
#define BARREL_P2P_C_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* NOLINTBEGIN(readability-identifier-naming,modernize-use-using,modernize-deprecated-headers): it is C. */

/* Errors. Their meaning is that of barrel_p2p::Errc. */

typedef enum barrel_p2p_error {
  BARREL_P2P_OK = 0,
  BARREL_P2P_INVALID_ARGUMENT = 1,
  BARREL_P2P_INVALID_CONFIG = 2,
  BARREL_P2P_INVALID_NODE_NAME = 3,
  BARREL_P2P_MALFORMED_TERM = 4,
  BARREL_P2P_LIMIT_EXCEEDED = 5,
  BARREL_P2P_TYPE_MISMATCH = 6,
  BARREL_P2P_TRAILING_BYTES = 7,
  BARREL_P2P_NOT_FOUND = 8,
  BARREL_P2P_ALREADY_REGISTERED = 9,
  BARREL_P2P_NO_PROCESS = 10,
  BARREL_P2P_NOT_CONNECTED = 11,
  BARREL_P2P_NO_CONNECTION = 12,
  BARREL_P2P_CONNECTION_REFUSED = 13,
  BARREL_P2P_UNREACHABLE = 14,
  BARREL_P2P_CANNOT_CONNECT_SELF = 15,
  BARREL_P2P_AUTH_FAILED = 16,
  BARREL_P2P_HANDSHAKE_FAILED = 17,
  BARREL_P2P_CLOSED = 18,
  BARREL_P2P_CANNOT_JOIN_SELF = 19,
  BARREL_P2P_TIMEOUT = 20,
  BARREL_P2P_CANCELLED = 21,
  BARREL_P2P_STOPPED = 22,
  BARREL_P2P_OVERLOADED = 23,
  BARREL_P2P_REMOTE_EXIT = 24,
  BARREL_P2P_UNDEFINED_FUNCTION = 25,
  BARREL_P2P_IO_ERROR = 26,
  BARREL_P2P_PERMISSION_DENIED = 27,
  BARREL_P2P_CORRUPT = 28,
  BARREL_P2P_KEY_MISMATCH = 29,
  BARREL_P2P_UNTRUSTED_KEY = 30,
  BARREL_P2P_SYSTEM_ERROR = 31,
  BARREL_P2P_NO_SUCH_MAP = 32,
  BARREL_P2P_INVALID_VALUE = 33,
  BARREL_P2P_ALREADY_CANDIDATE = 34,
  BARREL_P2P_NO_LEADER = 35,
  BARREL_P2P_NOT_LEADER = 36,
  BARREL_P2P_RESET = 37,
  BARREL_P2P_PEER_DISABLE_MIGRATION = 38,
  BARREL_P2P_NOT_INITIATOR = 39,
  BARREL_P2P_NOT_SUPPORTED = 40,
  BARREL_P2P_OUT_OF_MEMORY = 1000,
  BARREL_P2P_INTERNAL_ERROR = 1001 /* A defect of the library: please report its message. */
} barrel_p2p_error;

/* `not_found` for BARREL_P2P_NOT_FOUND. Valid for ever; never NULL. */
BARREL_P2P_C_API const char *barrel_p2p_error_name(int error);
/* What went wrong in the last function of this interface that failed on this thread, with what to do about it. Valid
   until the next one fails there; never NULL. */
BARREL_P2P_C_API const char *barrel_p2p_error_message(void);
/* `0.1.0`. Valid for ever. */
BARREL_P2P_C_API const char *barrel_p2p_version(void);

/* Bytes that belong to the caller. Behind them stands a 0 that `size` does not count: text can be used as it is. */
typedef struct barrel_p2p_bytes {
  uint8_t *data;
  size_t size;
} barrel_p2p_bytes;

/* Frees them and makes them empty. NULL and empty ones do no harm. */
BARREL_P2P_C_API void barrel_p2p_bytes_clear(barrel_p2p_bytes *bytes);
/* Frees a list of names. NULL does no harm. */
BARREL_P2P_C_API void barrel_p2p_names_free(char **names);

/* Terms. Errors: MALFORMED_TERM, LIMIT_EXCEEDED, TRAILING_BYTES; TYPE_MISMATCH where a kind of term is wanted. */

/* Erlang text, for instance `#{limit => 100, name => <<"north">>}`. The message of an error names line and column. */
BARREL_P2P_C_API int barrel_p2p_term_from_text(const char *text, barrel_p2p_bytes *term);
BARREL_P2P_C_API int barrel_p2p_term_to_text(const void *term, size_t size, barrel_p2p_bytes *text);
/* A binary with these bytes: what strings of C and C++ programs are. `bytes` may be NULL if `size` is 0. */
BARREL_P2P_C_API int barrel_p2p_term_from_binary(const void *bytes, size_t size, barrel_p2p_bytes *term);
BARREL_P2P_C_API int barrel_p2p_term_to_binary(const void *term, size_t size, barrel_p2p_bytes *bytes);
/* Element of a tuple or list, counted from 0. NOT_FOUND: it has fewer. */
BARREL_P2P_C_API int barrel_p2p_term_element(const void *term, size_t size, size_t index, barrel_p2p_bytes *element);

/* Nodes. */

typedef struct barrel_p2p_node barrel_p2p_node;

/* Line by line what the node logs, with level 0 (debug) to 3 (error), on any of its threads, one at a time. `line` is
   valid during the call. It must not call this interface, and may be called until barrel_p2p_free has returned. */
typedef void (*barrel_p2p_log)(void *user, int level, const char *line);

/* NULL and 0 stand for the default, in brackets. What is set here counts more than what the TOML says. */
typedef struct barrel_p2p_options {
  size_t size;               /* sizeof(barrel_p2p_options) */
  const char *config_file;   /* TOML, docs/configuration.md. [none] */
  const char *config_text;   /* TOML, in place of the file: one of the two. [none] */
  const char *name;          /* `NAME@HOST`. Needed here or in the TOML. */
  const char *cookie;        /* Equal on all nodes. [a public one: set your own] */
  const char *data_dir;      /* Keys, certificate, durable state. [data] */
  const char *discovery_dir; /* Where nodes of one machine find each other. [DATA/discovery] */
  const char *contact;       /* A node of the cluster to join, tried until there is a neighbour. [none] */
  barrel_p2p_log log;        /* [lines on standard error] */
  void *log_user;
  uint16_t port; /* UDP. [any] */
} barrel_p2p_options;

#define BARREL_P2P_OPTIONS_INIT {sizeof(barrel_p2p_options), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0}

/* Starts a node. Blocks for the disk. Errors: INVALID_CONFIG (names the key), IO_ERROR, PERMISSION_DENIED, CORRUPT. */
BARREL_P2P_C_API int barrel_p2p_start(const barrel_p2p_options *options, barrel_p2p_node **node);
/* Ends all that runs on it and tells every peer. The handle stays valid; what blocks returns with STOPPED, or CLOSED
   for a mailbox. Blocks. A second time does nothing. */
BARREL_P2P_C_API int barrel_p2p_stop(barrel_p2p_node *node);
/* Stops it and frees the handle. Its mailboxes stay valid handles until they are freed. Blocks. NULL does no harm. */
BARREL_P2P_C_API void barrel_p2p_free(barrel_p2p_node *node);
/* Valid as long as the handle; NULL of NULL. */
BARREL_P2P_C_API const char *barrel_p2p_name(const barrel_p2p_node *node);
/* UDP, the one that is bound; 0 of NULL. */
BARREL_P2P_C_API uint16_t barrel_p2p_port(const barrel_p2p_node *node);

/* The cluster. */

/* Joins the cluster of which the contact is a member. Does not wait for it. Errors: INVALID_NODE_NAME,
   CANNOT_JOIN_SELF, OVERLOADED, STOPPED. */
BARREL_P2P_C_API int barrel_p2p_join(barrel_p2p_node *node, const char *contact);
/* Until the next join this node asks nobody and refuses everybody. */
BARREL_P2P_C_API int barrel_p2p_leave(barrel_p2p_node *node);
/* Blocks until this node has a neighbour and knows so many members, itself included. Errors: TIMEOUT, STOPPED. */
BARREL_P2P_C_API int barrel_p2p_joined(barrel_p2p_node *node, size_t members_min, int64_t limit_ms);
/* Who is alive, this node included, in the order of names; behind the last one stands NULL. */
BARREL_P2P_C_API int barrel_p2p_members(barrel_p2p_node *node, char ***names);
/* The neighbours of this node, in no order; likewise. */
BARREL_P2P_C_API int barrel_p2p_active_view(barrel_p2p_node *node, char ***names);
/* Sends to all members, this one included: mailboxes that subscribed get `{plumtree_broadcast, {Tag, Payload}}`.
   Errors: LIMIT_EXCEEDED, OVERLOADED, STOPPED. */
BARREL_P2P_C_API int barrel_p2p_broadcast(barrel_p2p_node *node, const void *tag, size_t tag_size, const void *payload,
                                          size_t payload_size);

/* Mailboxes: the processes of a C program. Others send to them, monitor them, find them as services. */

typedef struct barrel_p2p_mailbox barrel_p2p_mailbox;

/* `name` is optional: under it other processes of this node, and of others by barrel_p2p_send_name, send to it. Errors:
   ALREADY_REGISTERED, STOPPED, IO_ERROR (no file descriptor). */
BARREL_P2P_C_API int barrel_p2p_mailbox_open(barrel_p2p_node *node, const char *name, barrel_p2p_mailbox **mailbox);
/* Ends the process, its names, services, subscriptions and campaigns, and frees the handle and its descriptor. What was
   not received is lost. Does not wait for others to hear of it. NULL does no harm. */
BARREL_P2P_C_API void barrel_p2p_mailbox_free(barrel_p2p_mailbox *mailbox);
/* The oldest message. Blocks until there is one; a limit of 0 only looks, a negative one waits for ever. While nobody
   receives, messages wait here, and senders of other nodes are held back when too much waits. Errors: TIMEOUT; CLOSED
   (the process has ended: the node stopped, or somebody ended it; all that came before was received). */
BARREL_P2P_C_API int barrel_p2p_mailbox_receive(barrel_p2p_mailbox *mailbox, int64_t limit_ms,
                                                barrel_p2p_bytes *message);
/* Can be read (poll, select, epoll, an event loop) while a message waits, and after the end. It belongs to the mailbox:
   only wait for it. -1 of NULL. */
BARREL_P2P_C_API int barrel_p2p_mailbox_fd(const barrel_p2p_mailbox *mailbox);
/* Its pid, a term to put into messages: who gets it can send here. */
BARREL_P2P_C_API int barrel_p2p_mailbox_pid(const barrel_p2p_mailbox *mailbox, barrel_p2p_bytes *pid);

typedef enum barrel_p2p_topic {
  BARREL_P2P_TOPIC_MEMBERSHIP = 1, /* `{barrel_p2p_event, {peer_up, Node} | {peer_down, Node, Reason} | left}` */
  BARREL_P2P_TOPIC_SERVICES = 2,   /* `{barrel_p2p_service_event, {service_registered, Name, Node} | ...}` */
  BARREL_P2P_TOPIC_BROADCASTS = 3, /* `{plumtree_broadcast, {Tag, Payload}}` */
  BARREL_P2P_TOPIC_MAP = 4,        /* `{barrel_p2p_map, Map, {put, Key, Value} | {remove, Key}}` of the map `name` */
  BARREL_P2P_TOPIC_REMINDERS = 5   /* `{barrel_p2p_reminder, Key, Payload, Fence}` of keys of this node */
} barrel_p2p_topic;

/* From now on these messages come, as long as the mailbox lives. A second time is the same as once. `name` counts for
   maps only. Errors: NO_SUCH_MAP, STOPPED. */
BARREL_P2P_C_API int barrel_p2p_subscribe(barrel_p2p_mailbox *mailbox, int topic, const char *name);

/* Messages. `to` is a term: a pid, a name of this node (an atom), or `{Name, Node}`; to send, also a reference that
   stands for a process (an alias). */

/* Does not wait; success does not mean that it arrives. Errors: OVERLOADED, NO_CONNECTION, NO_PROCESS (a name of this
   node that nobody bears), STOPPED. */
BARREL_P2P_C_API int barrel_p2p_send(barrel_p2p_node *node, const void *to, size_t to_size, const void *message,
                                     size_t message_size);
/* To a registered name; `at` is a node, or NULL for this one. */
BARREL_P2P_C_API int barrel_p2p_send_name(barrel_p2p_node *node, const char *name, const char *at, const void *message,
                                          size_t message_size);
/* Asks a server, in C++ or Erlang (gen_server), or a mailbox that replies. Blocks, at most for the limit. Errors:
   TIMEOUT, NO_PROCESS, NO_CONNECTION, STOPPED; LIMIT_EXCEEDED (the request is nested too deeply); REMOTE_EXIT (it
   ended; the message says why). */
BARREL_P2P_C_API int barrel_p2p_call(barrel_p2p_node *node, const void *to, size_t to_size, const void *request,
                                     size_t request_size, int64_t limit_ms, barrel_p2p_bytes *answer);
BARREL_P2P_C_API int barrel_p2p_call_name(barrel_p2p_node *node, const char *name, const char *at, const void *request,
                                          size_t request_size, int64_t limit_ms, barrel_p2p_bytes *answer);
/* Calls a function of another node (erpc), `arguments` is a list. Blocks likewise. Errors also: UNDEFINED_FUNCTION. */
BARREL_P2P_C_API int barrel_p2p_call_function(barrel_p2p_node *node, const char *at, const char *module,
                                              const char *function, const void *arguments, size_t arguments_size,
                                              int64_t limit_ms, barrel_p2p_bytes *result);
/* What a received message asks for, if it is a call. TYPE_MISMATCH: it is none. */
BARREL_P2P_C_API int barrel_p2p_call_request(const void *message, size_t size, barrel_p2p_bytes *request);
/* Answers it. `message` is the whole message as it was received. */
BARREL_P2P_C_API int barrel_p2p_reply(barrel_p2p_mailbox *mailbox, const void *message, size_t size, const void *answer,
                                      size_t answer_size);

/* Services: mailboxes that are found by name from every node. */

/* `meta` is a map, or NULL for none. Blocks for a moment. Errors: ALREADY_REGISTERED (by this node), LIMIT_EXCEEDED,
   INVALID_ARGUMENT, OVERLOADED, STOPPED. */
BARREL_P2P_C_API int barrel_p2p_register_service(barrel_p2p_mailbox *mailbox, const char *name, const void *meta,
                                                 size_t meta_size);
/* This node's registration, whoever made it. Blocks for a moment. Errors: NOT_FOUND (there was none), OVERLOADED (it
   stays), STOPPED. */
BARREL_P2P_C_API int barrel_p2p_unregister_service(barrel_p2p_node *node, const char *name);
/* One of that name: its pid, and with `at` the node that registered it; each of the two is optional. Waits until there is
   one, at most for the limit; 0: only what is known here counts. Blocks. Errors: NOT_FOUND, TIMEOUT, STOPPED. */
BARREL_P2P_C_API int barrel_p2p_lookup(barrel_p2p_node *node, const char *name, int64_t limit_ms, barrel_p2p_bytes *pid,
                                       barrel_p2p_bytes *at);
/* Names of all services; behind the last one stands NULL. */
BARREL_P2P_C_API int barrel_p2p_services(barrel_p2p_node *node, char ***names);

/* Replicated maps: for each key the last write wins on all nodes. Functions that change one block, for the disk too if
   it is durable. Errors of these: NO_SUCH_MAP, OVERLOADED, STOPPED, IO_ERROR. */

/* Opens a map on this node. `durable` not 0: kept on disk. Opening it again changes nothing. Error:
   ALREADY_REGISTERED (it is open, and not kept on disk: delete it first, which forgets what is in it here, or open it
   so in the first place). */
BARREL_P2P_C_API int barrel_p2p_map_open(barrel_p2p_node *node, const char *map, int durable);
/* Closes it on this node and forgets its content, on disk too; other nodes keep theirs. */
BARREL_P2P_C_API int barrel_p2p_map_delete(barrel_p2p_node *node, const char *map);
/* Errors also: LIMIT_EXCEEDED, INVALID_VALUE. */
BARREL_P2P_C_API int barrel_p2p_map_put(barrel_p2p_node *node, const char *map, const void *key, size_t key_size,
                                        const void *value, size_t value_size);
BARREL_P2P_C_API int barrel_p2p_map_remove(barrel_p2p_node *node, const char *map, const void *key, size_t key_size);
/* Does not block. Errors: NOT_FOUND, NO_SUCH_MAP. */
BARREL_P2P_C_API int barrel_p2p_map_get(barrel_p2p_node *node, const char *map, const void *key, size_t key_size,
                                        barrel_p2p_bytes *value);
/* Of one pair, which is valid during the call. Not 0: no more. */
typedef int (*barrel_p2p_map_visit)(void *user, const void *key, size_t key_size, const void *value, size_t value_size);
/* Visits a copy of the map, on this thread, in no order; this interface may be called meanwhile. Does not block. Error:
   NO_SUCH_MAP. */
BARREL_P2P_C_API int barrel_p2p_map_each(barrel_p2p_node *node, const char *map, barrel_p2p_map_visit visit,
                                         void *user);

/* Leaders: of the mailboxes of the cluster that campaign for a name, one leads. */

/* Greater than those of the leaders before: what the leader works on refuses smaller ones (docs/leaders.md). */
typedef struct barrel_p2p_fence {
  uint8_t packed[12]; /* Big endian: bytes compare like the tokens. */
  char text[32];      /* Decimal digits. */
} barrel_p2p_fence;

/* The mailbox campaigns until it resigns or is freed, and gets `{barrel_p2p_leader, Name, {elected, Fence} | revoked}`.
   The greatest priority leads; with `members_min` it leads only while so many members are there. `leads` (optional)
   says whether it leads at once, which no message tells. Blocks for a moment. Errors: ALREADY_CANDIDATE, LIMIT_EXCEEDED,
   OVERLOADED, STOPPED. */
BARREL_P2P_C_API int barrel_p2p_lead(barrel_p2p_mailbox *mailbox, const char *name, int64_t priority,
                                     size_t members_min, int *leads);
/* Blocks for a moment. Errors: NOT_FOUND (it does not campaign), STOPPED. */
BARREL_P2P_C_API int barrel_p2p_resign(barrel_p2p_mailbox *mailbox, const char *name);
/* Who leads, as far as this node knows: its pid and its node, each optional. Does not block. Error: NO_LEADER. */
BARREL_P2P_C_API int barrel_p2p_leader(barrel_p2p_node *node, const char *name, barrel_p2p_bytes *pid,
                                       barrel_p2p_bytes *at);
/* 1: a mailbox or process of this node leads. 0: it does not, or an argument is NULL. Does not block. */
BARREL_P2P_C_API int barrel_p2p_is_leader(barrel_p2p_node *node, const char *name);
/* The token of the leader, if it is of this node: ask before each request to what it protects. Does not block. Error:
   NOT_LEADER. */
BARREL_P2P_C_API int barrel_p2p_get_fence(barrel_p2p_node *node, const char *name, barrel_p2p_fence *fence);

/* NOLINTEND(readability-identifier-naming,modernize-use-using,modernize-deprecated-headers) */

#ifdef __cplusplus
}
#endif

#endif
