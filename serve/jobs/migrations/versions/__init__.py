"""One module a version, in the words of its time: none imports what may change later."""
