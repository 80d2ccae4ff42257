package pages

import (
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// check is a check run with what its row shows.
type check struct {
	sandbox.Check

	Look string // success, failure, neutral, skipped, cancelled, action, progress or queued
	Open bool
}

// checks is the box of checks of one commit.
type checks struct {
	SHA     string
	Caption string // which commit that is
	Rows    []check
	Look    string
	Verdict string // the box's heading
	Summary string // how many of which kind
}

// checkBoxes are the checks of the head, and of the merge once there is one.
func checkBoxes(repository *sandbox.Repository, pull sandbox.PullView) []checks {
	var boxes []checks
	if pull.MergeCommit != "" && pull.MergeCommit != pull.Head.SHA {
		if box := checkBox(repository, pull.MergeCommit, "merge commit"); len(box.Rows) > 0 {
			boxes = append(boxes, box)
		}
	}
	return append(boxes, checkBox(repository, pull.Head.SHA, "head commit"))
}

func checkBox(repository *sandbox.Repository, sha, caption string) checks {
	box := checks{SHA: sha, Caption: caption, Look: "neutral"}
	counts := map[string]int{}
	for _, run := range repository.Checks(sha) {
		look := lookOf(run)
		counts[look]++
		box.Rows = append(box.Rows, check{Check: run, Look: look})
	}
	box.Look, box.Verdict = verdict(counts, len(box.Rows))
	var parts []string
	for _, kind := range looks {
		if n := counts[kind.look]; n > 0 {
			parts = append(parts, strconv.Itoa(n)+" "+kind.words)
		}
	}
	box.Summary = strings.Join(parts, ", ")
	if box.Summary != "" {
		box.Summary += plural(len(box.Rows), " check", " checks")
	}
	return box
}

// looks are the ways a check run can look, in the order in which a summary counts them.
var looks = []struct{ look, words string }{ //nolint:gochecknoglobals // a constant table
	{"failure", "failing"},
	{"action", "needing action"},
	{"progress", "in progress"},
	{"queued", "queued"},
	{"cancelled", "cancelled"},
	{"skipped", "skipped"},
	{"neutral", "neutral"},
	{"success", "successful"},
}

func lookOf(run sandbox.Check) string {
	if run.Status != "completed" {
		if run.Status == "in_progress" {
			return "progress"
		}
		return "queued"
	}
	switch run.Conclusion {
	case "success", "neutral", "skipped", "cancelled":
		return run.Conclusion
	case "action_required":
		return "action"
	case "stale":
		return "neutral"
	default:
		return "failure"
	}
}

func verdict(counts map[string]int, total int) (look, words string) {
	switch {
	case total == 0:
		return "neutral", "No checks have run on this commit"
	case counts["failure"] > 0:
		return "failure", "Some checks were not successful"
	case counts["action"] > 0:
		return "action", "Some checks need a person"
	case counts["progress"]+counts["queued"] > 0:
		return "progress", "Some checks have not completed yet"
	case counts["cancelled"] > 0:
		return "cancelled", "Some checks were cancelled"
	default:
		return "success", "All checks have passed"
	}
}
