"""Bad inputs: valid inputs of every format and command, the changes that spoil them, and the judge of what is said.

`case` holds the nouns; `bases` and its siblings make valid inputs; `changes_*` spoil them; `table` lists all cases;
`worker` runs one in a warm process; `judge` says what became of it.
"""
