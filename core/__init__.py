"""The ground floor: nouns, the dataflow, private training. Imports none of the other rooms."""
