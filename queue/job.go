package queue

import "encoding/json"

// Class separates jobs that end in a moment from those that run Terraform, so that neither waits
// for the other's workers.
type Class string

// The classes of job.
const (
	Quick Class = "quick" // looks and decides: milliseconds to seconds
	Long  Class = "long"  // drives operations: as long as Terraform runs
	Bots  Class = "bots"  // plans that nobody waits for, so that they never take all that plans
)

// Job is one piece of work. Jobs of one key run one at a time, in the order in which they were queued.
type Job struct {
	Class   Class
	Kind    string          // names the function that does it
	Key     string          // what it is about
	Lane    string          // who takes turns with others: many jobs of one lane do not hold up those of another; empty: Key
	Payload json.RawMessage // arguments of that function
	Once    bool            // left out when a job of this key and kind is already waiting
	Alike   bool            // left out when one of this key and kind with the same payload waits: it looks at the world as it is by then
	Cause   string          // the webhook delivery it came from, for logs; empty for our own
}
