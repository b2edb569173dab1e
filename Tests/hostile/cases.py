"""All cases, in the order of the table. A new family of cases is a file with a list `CASES`, and one line here."""

import frames
import https
import messages
import requests_and_tokens
import sockets

CASES = [*frames.CASES, *sockets.CASES, *https.CASES, *requests_and_tokens.CASES, *messages.CASES]
