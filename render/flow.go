package render

import (
	"strconv"

	"github.com/switchyard-dev/switchyard/gitflow"
)

// FlowView is what the gitflow check says about one pull request or merge group.
type FlowView struct {
	Pull     int // 0 for a merge group
	Gitflow  gitflow.Decision
	Problem  string // what is wrong with the configuration on the default branch, one problem a line; else empty
	Proposed string // what is wrong with the configuration that the pull request proposes; else empty
	Repairs  bool   // it proposes a configuration that can be used, where Problem says that the present one cannot
}

// FlowCheck is the gitflow check of a commit. Several pull requests share it when the commit is the head
// of each: the first of them gives the title, so it must be the one that decides.
func FlowCheck(views []FlowView) Check {
	if len(views) == 1 {
		return flowCheck(views[0])
	}
	pieces := []*piece{fixed("This commit is the head of " + several(len(views), "pull request", "pull requests") +
		", and this check is for all of them.")}
	title := ""
	for i, v := range views {
		one, name := flowCheck(v), "#"+strconv.Itoa(v.Pull)
		if i == 0 {
			title = name + ": " + one.Title
		}
		heading := "**" + name + "**"
		pieces = append(pieces, &piece{rank: rankWords, forms: []string{heading + "\n\n" + one.Summary, heading + ": " + prose(one.Title)}})
	}
	return Check{Title: cut(title, MaxTitle), Summary: fit(MaxCheckText, pieces...)}
}

func flowCheck(v FlowView) Check {
	decided := GitflowCheck(v.Gitflow)
	switch {
	case v.Problem != "" && v.Repairs:
		return Check{Title: "This pull request repairs the configuration", Summary: fit(MaxCheckText,
			fixed("**Nothing is planned or applied yet:** "+code(configPath)+" on the default branch cannot be used. "+
				"This pull request proposes one that can, and nothing else about it can be checked before."),
			problemList(v.Problem), fixed("Next: have it reviewed, and merge it to the default branch."))}
	case v.Problem != "":
		return Check{Title: "The configuration cannot be used", Summary: ConfigProblem(v.Problem)}
	case v.Proposed != "":
		return Check{Title: "The proposed configuration cannot be used", Summary: fit(MaxCheckText,
			fixed("**"+code(configPath)+" as this pull request proposes it cannot be used.** "+
				"On the default branch it would stop every plan and apply; until then the file that is there decides."),
			problemList(v.Proposed), fixed("Next: correct it and push; `switchyard check` shows the same problems offline."),
			&piece{rank: rankWords, forms: []string{decided.Summary, prose(decided.Title)}})}
	default:
		return decided
	}
}
