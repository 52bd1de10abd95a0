#!/usr/bin/env python3
"""chat_test.py PROGRAM: three users as three processes; all see the same of a room, and that one of them was killed."""
import programs


class Chat(programs.ExampleTest):
    def user(self, nick, contact=None):
        user = self.start(f"{nick}@127.0.0.1", self.directory, *([f"{contact}@127.0.0.1"] if contact else []))
        user.shows(f"hello {nick}@127.0.0.1")
        return user

    def room(self, user):
        """What a user saw in the room."""
        return [line for line in user.lines if line.startswith("[tea]")]

    def test_a_room_is_one_conversation_for_all_who_are_in_it(self):
        ann = self.user("ann")
        bob = self.user("bob", "ann")
        cyd = self.user("cyd", "bob")
        bob.say("/create tea")
        ann.shows("room tea is open")
        cyd.shows("room tea is open")
        cyd.say("/rooms")
        cyd.shows("room tea", cyd.shows("room tea is open") + 1)
        for user, nick in ((ann, "ann"), (bob, "bob"), (cyd, "cyd")):
            user.say("/join tea")
            user.shows(f"[tea] {nick} joined")
        for number in range(5):  # all at once: in whatever order they come, it is the same one for all
            for user in (ann, bob, cyd):
                user.say(f"line {number}")
        for user in (ann, bob, cyd):
            for nick in ("ann", "bob", "cyd"):
                user.shows(f"[tea] {nick}: line 4")

        cyd.kill()
        ann.shows("[tea] cyd left")
        bob.shows("[tea] cyd left")
        ann.say("bye")
        for user in (ann, bob):
            user.shows("[tea] ann: bye")
        since_all_were_there = self.room(cyd)
        self.assertEqual(len(since_all_were_there), 16)
        self.assertEqual(self.room(ann)[2:18], since_all_were_there)
        self.assertEqual(self.room(bob)[1:17], since_all_were_there)
        self.assertEqual(self.room(ann)[1:], self.room(bob))

        ann.say("/leave tea")
        bob.shows("[tea] ann left")
        self.assertEqual(bob.finish(), 0)
        ann.shows("room tea is closed")
        ann.say("/join tea")
        ann.shows("no such room")
        self.assertEqual(ann.finish(), 0)

    def test_a_room_has_one_name_and_only_members_speak(self):
        ann = self.user("ann")
        ann.say("/create tea")
        ann.shows("room tea is open")
        ann.say("/create tea")
        ann.shows("there is a room tea")
        ann.say("/join tea")
        ann.shows("[tea] ann joined")
        ann.say("/leave tea")
        ann.say("is anybody here?")
        ann.shows("not_a_member")
        self.assertEqual(ann.finish(), 0)


programs.main(Chat)
