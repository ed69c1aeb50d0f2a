"""The audit of flagged requests: who demanded what, who was allowed, where it went. docs/adr/0012-audit.md says why so.

A *chain* is a file (in parts) of lines, each one JSON object that says its chain, its number and the MAC of the line
before it, and ends with its own MAC. Three kinds: `chain-ID` holds the entries of one process, `seals-ID` what that
process saw of all chains every ten seconds, `trims` what was removed on purpose.
"""
