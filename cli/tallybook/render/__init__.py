"""From the fields of a report to text: nothing here knows a terminal, a file or the environment."""
