"""Tries one process model through python-nss, and tells of it in the lines that nssight reads.

The task comes on standard input: its length in four bytes, its JSON, the password. Nothing here is read from anywhere else.
"""

import json
import os
import signal
import struct
import sys
import threading
import time

import nss.error as nss_error
import nss.nss as nss

STDIN = sys.stdin.buffer
BUSY_THREADS = 3


def say(line):
    # One write a line: several processes share the pipe.
    os.write(1, json.dumps(line).encode() + b"\n")


class Trial:
    def __init__(self, task, password):
        self.model = task["model"]
        self.database = bytes(task["database"]["Unix"]).decode(errors="surrogateescape")
        self.nickname = task["nickname"]
        self.patience = task["patience_ms"] / 1000
        self.repeats = task["repeats"]
        self.password = password

    def run(self):
        getattr(self, self.model.replace("-", "_"))()
        say("over")

    def step(self, who, step, work):
        """Runs one step; gives what it gave, or None after an error."""
        say({"begin": [who, step]})
        error, random, result = None, None, None
        try:
            result = work()
            if step == "random":
                random = result.hex()
        except nss_error.NSPRError as trouble:
            name, text = nss_error.nss_error_name(trouble.errno) if hasattr(nss_error, "nss_error_name") else "", ""
            text = str(trouble)
            name = name or text[text.find("(") + 1:text.find(")")]
            error = {"code": trouble.errno or 0, "name": name, "text": text}
        say({"done": {"who": who, "step": step, "error": error, "random": random}})
        return result if error is None else None

    def init(self, who):
        def work():
            # python-nss keeps the callable in the state of this thread.
            nss.set_password_callback(lambda slot, retry, *_: None if retry else self.password)
            nss.nss_init(self.database)
            return True

        return self.step(who, "init", work)

    def login(self, who):
        def work():
            slot = nss.get_internal_key_slot()
            if slot.need_login():
                slot.authenticate()
            return True

        return self.step(who, "login", work)

    def used(self, who):
        """Everything but the first step; random bytes before anything that may draw some itself."""
        self.step(who, "random", lambda: nss.generate_random(16))
        self.login(who)
        if not self.nickname:
            return
        certificate = self.step(who, "find-certificate", lambda: nss.find_cert_from_nickname(self.nickname))
        if certificate is not None:
            self.step(who, "find-key", lambda: nss.find_key_by_any_cert(certificate))

    def whole(self, who):
        if self.init(who):
            self.used(who)

    def child(self, work):
        """Forks; gives the process id."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        return pid

    def wait(self, children):
        """Waits for children together; whoever is not done in time is killed."""
        deadline = time.monotonic() + self.patience
        left = dict(enumerate(children))
        while left:
            for number, pid in list(left.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    del left[number]
                    code = os.waitstatus_to_exitcode(status)
                    say({"ended": [number, {"signal": -code} if code < 0 else {"code": code}]})
                elif time.monotonic() > deadline:
                    del left[number]
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    say({"ended": [number, "hung"]})
            time.sleep(0.002)

    def thread(self, work):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    # One method a model.

    def fresh_process(self):
        self.whole("parent")

    def same_thread(self):
        self.whole("again")
        self.used("parent")

    def another_thread(self):
        if self.init("parent"):
            self.thread(lambda: self.used("thread"))
            self.used("again")

    def fork_before_init(self):
        self.wait([self.child(lambda: self.whole({"child": 0}))])
        self.whole("again")

    double_tls = fork_before_init

    def fork_after_init(self, login=False):
        if self.init("parent"):
            if login:
                self.login("parent")
            self.wait([self.child(lambda: self.used({"child": 0}))])
            self.used("again")

    def fork_after_login(self):
        self.fork_after_init(login=True)

    def fork_shutdown_init(self):
        def work():
            def again():
                nss.nss_shutdown()
                nss.set_password_callback(lambda slot, retry, *_: None if retry else self.password)
                nss.nss_init(self.database)
                return True

            if self.step({"child": 0}, "init", again):
                self.used({"child": 0})

        if self.init("parent"):
            self.login("parent")
            self.wait([self.child(work)])
            self.used("again")

    def fork_from_thread(self):
        if self.init("parent"):
            self.thread(lambda: self.wait([self.child(lambda: self.used({"child": 0}))]))
            self.used("again")

    def fork_while_busy(self):
        if not self.init("parent") or not self.login("parent"):
            return
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                nss.generate_random(64)
                if self.nickname:
                    nss.find_cert_from_nickname(self.nickname)

        threads = [threading.Thread(target=busy) for _ in range(BUSY_THREADS)]
        for thread in threads:
            thread.start()
        children = []
        for number in range(self.repeats):
            time.sleep(0.002)
            children.append(self.child(lambda who={"child": number}: self.used(who)))
        self.wait(children)
        stop.set()
        for thread in threads:
            thread.join()
        self.used("again")


def main():
    (length,) = struct.unpack(">I", STDIN.read(4))
    task = json.loads(STDIN.read(length))
    password = STDIN.read(task["password"] or 0).decode(errors="surrogateescape")
    Trial(task, password).run()


main()
