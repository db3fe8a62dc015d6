"""Live signals: a monitor that never ends, from the models that draw the files."""
