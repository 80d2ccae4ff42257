package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// lockText is what `lock show` prints: what was found, and the one thing to do next.
func lockText(found operation.StateLock, dir string) string {
	return lockFacts(found) + "\nNext: " + lockNext(found, dir)
}

// lockFacts is what was found of a lock and its state.
func lockFacts(found operation.StateLock) string {
	var text strings.Builder
	line := func(label, value string) {
		if value != "" {
			fmt.Fprintf(&text, "  %-10s %s\n", label, cell(value, maxWhy))
		}
	}
	words := map[operation.LeaseState]string{
		operation.LeaseFree: "The lock is free.", operation.LeaseBroken: "The lock is free: it was broken before.",
		operation.LeaseHeld: "The state is locked.",
	}
	text.WriteString(cmp.Or(words[found.Lease], "Whether the state is locked is not known.") + "\n")
	line("state", found.Backend+" "+found.Place)
	if info := found.Info; info != nil {
		if found.Lease != operation.LeaseHeld {
			text.WriteString("What is written about a holder is left over:\n")
		}
		line("by", info.Who)
		line("since", sinceWords(info.Created))
		line("doing", doingWords(*info))
		line("lock id", info.ID)
	} else if found.Lease == operation.LeaseHeld {
		line("by", "nobody says: the lock has no description")
	}
	line("etag", found.ETag)
	switch {
	case found.Missing == "container":
		text.WriteString("The container of the state does not exist.\n")
	case found.Missing != "":
		text.WriteString("There is no state yet.\n")
	default:
		line("modified", timeWords(found.Modified))
		line("size", fmt.Sprintf("%d bytes", found.Size))
		line("lineage", found.Lineage)
		if found.Lineage != "" {
			line("serial", fmt.Sprintf("%d, with %d %s", found.Serial, found.Resources, plural(found.Resources, "instance")))
		}
	}
	for _, address := range found.Tainted {
		line("tainted", address)
	}
	for i := range found.Errored {
		text.WriteString(erroredText(found.Errored[i]))
	}
	for _, note := range found.Notes {
		text.WriteString(cell(note, maxWhy) + "\n")
	}
	return text.String()
}

// sinceWords is the time that Terraform wrote, to the second; what is none is shown as it is.
func sinceWords(created string) string {
	at, err := time.Parse(time.RFC3339Nano, created)
	if err != nil {
		return created
	}
	return timeWords(at)
}

// doingWords is what the holder does: Terraform writes OperationTypeApply.
func doingWords(info operation.LockInfo) string {
	text := info.Operation
	if name, found := strings.CutPrefix(text, "OperationType"); found {
		text = strings.ToLower(name)
	}
	if info.Version == "" {
		return text
	}
	return strings.TrimPrefix(text+", version "+info.Version, ", ")
}

func timeWords(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// erroredText is about a state that an apply could not save.
func erroredText(errored operation.ErroredState) string {
	text := "A state that an apply could not save is beside it: " + cell(errored.Place, maxWhy)
	if errored.Lineage != "" {
		text += fmt.Sprintf(", serial %d", errored.Serial)
	}
	if at := timeWords(errored.Modified); at != "" {
		text += ", of " + at
	}
	if errored.Fits {
		return text + ". It fits.\n"
	}
	return text + ". It does not fit: " + cell(errored.Why, maxWhy) + "\n"
}

const bringBack = "bring back the state that could not be saved, in the directory of the root:\n"

// lockNext is the one thing to do, with its command.
func lockNext(found operation.StateLock, dir string) string {
	switch {
	case found.Missing == "container":
		return "check `container_name` and `storage_account_name` of the backend, or make the container.\n"
	case found.Lease == operation.LeaseHeld:
		return lockHeldNext(found, dir)
	}
	for i := range found.Errored {
		if found.Errored[i].Fits {
			return bringBack + indented(found.Errored[i].Next)
		}
	}
	if found.Lease == operation.LeaseBroken {
		return "nothing has to be done; the next apply takes the lock and clears what is left of it.\n"
	}
	return "nothing has to be done; the next apply takes the lock.\n"
}

func lockHeldNext(found operation.StateLock, dir string) string {
	const first = "find out whether the holder works still, and end it there: it gives the lock back itself. If it is dead:\n"
	command := "switchyard lock break" + chdirFlag(dir)
	switch {
	case found.Info != nil:
		command += " --lock-id " + shellWord(found.Info.ID)
	case found.ETag == "":
		return "release it on the server, which does not say whose lock it is: from here it cannot be told from another.\n"
	default:
		command += " --empty"
	}
	if found.ETag != "" {
		command += " --etag " + shellWord(found.ETag)
	}
	return first + indented(command+" --reason 'WHY'")
}

// chdirFlag repeats where the root is.
func chdirFlag(dir string) string {
	if dir == "" || dir == "." {
		return ""
	}
	return " --chdir " + shellWord(dir)
}

// shellWord quotes a word of a command line that a person copies, where it has to be.
func shellWord(text string) string {
	text = cell(text, maxWhy)
	if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func indented(text string) string {
	var lines strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		lines.WriteString("  " + cell(line, maxCommand) + "\n")
	}
	return lines.String()
}

// maxCommand bounds a command that is printed, in characters.
const maxCommand = 4000

// brokenSteps is how far the breaking of a lock came.
func brokenSteps(broken operation.Broken) string {
	var text strings.Builder
	step := func(done bool, words string) {
		if done {
			text.WriteString("- " + cell(words, maxWhy) + "\n")
		}
	}
	step(broken.Taken, "The lock was taken over: whoever had it writes nothing any more.")
	step(broken.Snapshot != "", "The state was copied: snapshot "+broken.Snapshot+".")
	step(broken.NoCopy != "", "No copy was made. "+broken.NoCopy)
	step(broken.Cleared, "What was written about the holder was cleared.")
	step(broken.How == operation.ReleasedTaken, "The lock was released.")
	step(broken.How == operation.ReleasedBroken, "The lock was broken.")
	step(broken.How == operation.ReleasedBefore, "The lock was free already.")
	step(broken.Verified, "It was taken and released once more, to see that it can be.")
	step(broken.Untried != "", broken.Untried)
	step(broken.Problem != "", broken.Problem)
	return text.String()
}

// incident is who broke a lock, and why.
type incident struct {
	Reason, By string
	At         time.Time
}

// brokenText is what `lock break` prints at its end: what was done, and a text for people.
func brokenText(found operation.StateLock, broken operation.Broken, by incident) string {
	var text strings.Builder
	text.WriteString(brokenSteps(broken))
	text.WriteString("\nFor the incident issue:\n\n")
	code := func(value string) string { return "`" + strings.ReplaceAll(cell(value, maxWhy), "`", "'") + "`" }
	fmt.Fprintf(&text, "**The state lock of %s was broken on the command line.**\n\n", code(found.Place))
	fmt.Fprintf(&text, "- By %s at %s\n", code(by.By), timeWords(by.At))
	fmt.Fprintf(&text, "- Because: %s\n", code(by.Reason))
	if info := found.Info; info != nil {
		fmt.Fprintf(&text, "- It was the lock %s of %s since %s: %s\n",
			code(info.ID), code(info.Who), code(sinceWords(info.Created)), code(doingWords(*info)))
	} else {
		text.WriteString("- The lock had no description\n")
	}
	if found.Lineage != "" {
		fmt.Fprintf(&text, "- The state had serial %d, lineage %s\n", found.Serial, code(found.Lineage))
	}
	if broken.Snapshot != "" {
		fmt.Fprintf(&text, "- A copy of it from before is the snapshot %s\n", code(broken.Snapshot))
	}
	for i := range found.Errored {
		fmt.Fprintf(&text, "- A state that could not be saved: %s, serial %d\n", code(found.Errored[i].Place), found.Errored[i].Serial)
	}
	text.WriteString("\nNext: ")
	if now := broken.Now; now != nil && now.Lease == operation.LeaseHeld {
		who := "somebody"
		if now.Info != nil {
			who = cell(now.Info.Who, maxCell)
		}
		return text.String() + "nothing here; " + who + " has the lock now.\n"
	}
	for i := range found.Errored {
		if found.Errored[i].Fits {
			return text.String() + bringBack + indented(found.Errored[i].Next)
		}
	}
	return text.String() + "`terraform plan`, which shows what the interrupted apply has left to do.\n"
}
