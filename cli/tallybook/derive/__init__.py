"""From reported rows to settled usage: a chain of stages that can be thrown away and run again."""
