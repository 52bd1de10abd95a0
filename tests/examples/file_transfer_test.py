#!/usr/bin/env python3
"""file_transfer_test.py PROGRAM: files between processes, whole or not at all."""
import os
import random

import programs


class FileTransfer(programs.ExampleTest):
    def receiver(self):
        self.inbox = self.directory / "inbox"
        self.inbox.mkdir()
        receiver = self.start("receive", "b@127.0.0.1", self.directory, self.inbox)
        receiver.shows("ready")
        return receiver

    def send(self, path):
        return self.start("send", "a@127.0.0.1", self.directory, path, "b@127.0.0.1")

    def test_files_arrive_whole(self):
        receiver = self.receiver()
        for name, size in (("large", 20_000_001), ("empty", 0), ("small", 1)):
            content = random.Random(size).randbytes(size)
            (self.directory / name).write_bytes(content)
            sender = self.send(self.directory / name)
            sender.shows(f"received {name}")
            self.assertEqual(sender.finish(), 0)
            self.assertEqual((self.inbox / name).read_bytes(), content, name)
        self.assertEqual(sorted(os.listdir(self.inbox)), ["empty", "large", "small"])
        self.assertEqual(receiver.finish(), 0)

    def test_of_a_sender_that_is_killed_nothing_remains(self):
        receiver = self.receiver()
        with open(self.directory / "endless", "wb") as file:
            file.truncate(1 << 30)  # takes seconds, and no room on the disk
        sender = self.send(self.directory / "endless")
        receiver.shows("receiving endless")
        sender.kill()
        receiver.shows("failed: ")
        self.assertEqual(os.listdir(self.inbox), [])

        (self.directory / "next").write_bytes(b"and it goes on")
        sender = self.send(self.directory / "next")
        sender.shows("received next")
        self.assertEqual(sender.finish(), 0)
        self.assertEqual(receiver.finish(), 0)

    def test_what_cannot_be_sent_is_said(self):
        absent = self.send(self.directory / "absent")
        absent.shows("io_error: ")
        self.assertEqual(absent.finish(), 1)
        receiver = self.receiver()
        (self.directory / ".hidden").write_bytes(b"")
        hidden = self.send(self.directory / ".hidden")
        hidden.shows("failed: invalid_argument: ")
        self.assertEqual(hidden.finish(), 1)
        self.assertEqual(receiver.finish(), 0)


programs.main(FileTransfer)
