package main

// Main is the program itself, for tests that are their own switchyard.
func Main() { main() }
