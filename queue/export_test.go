package queue

// Backoff is for tests.
var Backoff = backoff
