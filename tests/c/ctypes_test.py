#!/usr/bin/env python3
"""ctypes_test.py LIBRARY: the C interface from Python, with nothing but the standard library."""
import ctypes
import os
import pathlib
import select
import shutil
import sys
import tempfile
import unittest

PATIENCE_MS = 60_000
TOPIC_MAP = 4
library = ctypes.CDLL(os.path.abspath(sys.argv.pop(1)))


class Bytes(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]

    def take(self):
        """Copies what the library gave, and frees it."""
        value = ctypes.string_at(self.data, self.size)
        library.barrel_p2p_bytes_clear(ctypes.byref(self))
        return value


LOG = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
VISIT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t)


class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("config_file", ctypes.c_char_p), ("config_text", ctypes.c_char_p),
                ("name", ctypes.c_char_p), ("cookie", ctypes.c_char_p), ("data_dir", ctypes.c_char_p),
                ("discovery_dir", ctypes.c_char_p), ("contact", ctypes.c_char_p), ("log", LOG), ("log_user", ctypes.c_void_p),
                ("port", ctypes.c_uint16)]


library.barrel_p2p_error_message.restype = ctypes.c_char_p
library.barrel_p2p_error_name.restype = ctypes.c_char_p
library.barrel_p2p_free.restype = None
library.barrel_p2p_mailbox_free.restype = None
library.barrel_p2p_bytes_clear.restype = None
library.barrel_p2p_free.argtypes = [ctypes.c_void_p]
library.barrel_p2p_mailbox_free.argtypes = [ctypes.c_void_p]
library.barrel_p2p_mailbox_fd.argtypes = [ctypes.c_void_p]


class Failed(Exception):
    def __init__(self, code):
        self.name = library.barrel_p2p_error_name(code).decode()
        super().__init__(library.barrel_p2p_error_message().decode())


def call(function, *arguments):
    """Calls a function of the library; str, bytes and int go as they are meant."""
    converted = []
    for argument in arguments:
        if isinstance(argument, str):
            converted.append(argument.encode())
        elif isinstance(argument, bytes):
            converted += [argument, ctypes.c_size_t(len(argument))]  # a term and its size
        elif isinstance(argument, int):
            converted.append(ctypes.c_int64(argument))
        else:
            converted.append(argument)
    code = getattr(library, "barrel_p2p_" + function)(*converted)
    if code != 0:
        raise Failed(code)


def term(text):
    made = Bytes()
    call("term_from_text", text, ctypes.byref(made))
    return made.take()


def text(encoded):
    printed = Bytes()
    call("term_to_text", encoded, ctypes.byref(printed))
    return printed.take().decode()


class Mailbox:
    def __init__(self, node, name=None):
        self.handle = ctypes.c_void_p()
        call("mailbox_open", node.handle, name, ctypes.byref(self.handle))

    def receive(self):
        message = Bytes()
        call("mailbox_receive", self.handle, PATIENCE_MS, ctypes.byref(message))
        return message.take()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        library.barrel_p2p_mailbox_free(self.handle)


class Node:
    def __init__(self, directory, name, contact=None):
        options = Options(size=ctypes.sizeof(Options), name=name.encode(), cookie=b"secret", data_dir=f"{directory}/{name}".encode(),
                          discovery_dir=f"{directory}/discovery".encode(), contact=contact.encode() if contact else None)
        self.logged = []
        options.log = self._log = LOG(lambda _user, _level, line: self.logged.append(line))  # kept as long as the node
        self.handle = ctypes.c_void_p()
        call("start", ctypes.byref(options), ctypes.byref(self.handle))

    def map_get(self, name, key):
        value = Bytes()
        call("map_get", self.handle, name, key, ctypes.byref(value))
        return value.take()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        library.barrel_p2p_free(self.handle)


class Interface(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="barrel_p2p-python-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def test_two_nodes_share_a_map_and_exchange_messages(self):
        with Node(self.directory, "a@127.0.0.1") as a, Node(self.directory, "b@127.0.0.1", "a@127.0.0.1") as b:
            call("joined", b.handle, 2, PATIENCE_MS)
            self.assertTrue(a.logged)
            for node in (a, b):
                call("map_open", node.handle, "config", 0)
            with Mailbox(b, "inbox") as inbox:
                call("subscribe", inbox.handle, TOPIC_MAP, "config")
                call("map_put", a.handle, "config", term("limit"), term("100"))
                self.assertEqual(text(inbox.receive()), "{barrel_p2p_map,config,{put,limit,100}}")
                self.assertEqual(text(b.map_get("config", term("limit"))), "100")
                pairs = []

                def visit(_user, key, key_size, value, value_size):
                    pairs.append((text(ctypes.string_at(key, key_size)), text(ctypes.string_at(value, value_size))))
                    return 0

                call("map_each", b.handle, "config", VISIT(visit), None)
                self.assertEqual(pairs, [("limit", "100")])

                fd = library.barrel_p2p_mailbox_fd(inbox.handle)
                self.assertEqual(select.select([fd], [], [], 0)[0], [])
                call("send_name", a.handle, "inbox", "b@127.0.0.1", term('{hello, <<"from python">>}'))
                self.assertEqual(select.select([fd], [], [], PATIENCE_MS / 1000)[0], [fd])
                self.assertEqual(text(inbox.receive()), '{hello,<<"from python">>}')

    def test_errors_are_told(self):
        with self.assertRaisesRegex(Failed, "malformed_term: .*line 1"):
            term("{1, 2")
        with Node(self.directory, "a@127.0.0.1") as a:
            for arguments, error in (
                    (("map_put", a.handle, "nowhere", term("1"), term("2")), "no_such_map"),
                    (("map_put", a.handle, None, term("1"), term("2")), "invalid_argument"),
                    (("map_put", None, "config", term("1"), term("2")), "invalid_argument"),
                    (("map_put", a.handle, "nowhere", b"no term", term("2")), "malformed_term"),
                    (("join", a.handle, "a@127.0.0.1"), "cannot_join_self"),
                    (("send_name", a.handle, "nobody", None, term("1")), "noproc")):
                with self.assertRaises(Failed, msg=arguments) as caught:
                    call(*arguments)
                self.assertEqual(caught.exception.name, error, arguments)
            with self.assertRaisesRegex(Failed, "invalid_config"):
                Node(self.directory, "no host")


unittest.main(verbosity=2)
