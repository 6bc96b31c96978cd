"""Reads hexadecimal files, one a line, with RawConfigParser; prints one JSON answer a line."""

import configparser
import io
import json
import signal
import sys

signal.alarm(120)

for line in sys.stdin:
    parser = configparser.RawConfigParser()
    text = io.TextIOWrapper(io.BytesIO(bytes.fromhex(line.strip())), encoding="utf-8")
    try:
        parser.read_file(text)
    except (configparser.Error, UnicodeDecodeError) as error:
        print(json.dumps({"error": type(error).__name__}))
        continue
    answer = {name: dict(parser.items(name)) for name in parser.sections()}
    print(json.dumps({"sections": answer, "default": dict(parser.defaults())}))
