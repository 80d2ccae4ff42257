// Package commands reads slash commands from comments and decides who may give them and whether their
// form is right. deploy calls it for each new comment and then carries the request out. It never asks
// GitHub, never looks at operations and never starts one.
package commands

import "github.com/switchyard-dev/switchyard/operation"

// Command is one command as it was written.
type Command struct {
	Name        string // without the slash, lower case
	Environment string
	Root        string
	Digest      string // lower case hex, at least 4 characters
	Address     string
	Fork        string // the commit that --fork names
	LockID      string // break-lease: the lock that is meant; empty: any
	Reason      string // break-lease: why, in the person's words; one line
	Code        string // confirm: upper case
	Line        string // the first line of the comment
}

// Person is who wrote the comment, as GitHub knows them.
type Person struct {
	Login      string
	Bot        bool
	Permission string   // none, read, triage, write, maintain or admin; anything else counts as none
	Teams      []string // slugs of the teams of the organisation that the person is an active member of
}

// Thread is where the comment was written.
type Thread struct {
	Pull        int
	Issue       bool   // an issue, not a pull request
	State       string // open, closed or merged
	Fork        bool   // the head of the pull request is in another repository
	Environment string // that the base branch deploys to; "" if none
	Base        string // base branch
}

// Decision is what to do about a comment.
type Decision struct {
	Do      string  // name of the command to carry out; "" for none
	Command Command // with what the thread adds: the environment where it was left out
	Refusal string  // Markdown for the person when nothing is done; "" otherwise
	Ignore  bool    // give no answer at all
}

// Names lists the commands in effect, in the order of Help.
func Names() []string {
	var names []string
	for _, word := range operation.CommandWords() {
		if !word.Later {
			names = append(names, word.Name)
		}
	}
	return names
}

// form is how a command is written and what it does.
type form struct{ arguments, does string }

// formOf gives the form of a command in effect.
func formOf(name string) form {
	switch name {
	case "help":
		return form{"", "shows the commands that you can give here"}
	case "status":
		return form{"[ENVIRONMENT]", "shows what is applied, what runs and what waits"}
	case "why":
		return form{"[ADDRESS]", "says why a change is there and who said yes to it"}
	case "plan":
		return form{"[ENVIRONMENT] [ROOT] [--fork SHA]", "plans this pull request again; of a fork, exactly the commit that is named, " +
			"which needs " + ForkPermission + " permission"}
	case "apply":
		return form{"ENVIRONMENT [DIGEST]", "says yes to what an apply asks, or runs a failed, interrupted or " +
			"cancelled apply again at the tip of the branch"}
	case "cancel":
		return form{"[ENVIRONMENT]", "stops what runs or waits, so that Terraform releases its lock"}
	case "unlock":
		return form{"ENVIRONMENT", "releases Switchyard's own hold of an operation that is dead, once somebody confirms; " +
			"never Terraform's state lock"}
	case "break-lease":
		return form{"ENVIRONMENT [ROOT] [--lock-id ID] [--reason TEXT]", "says who holds Terraform's state lock and whether that still works, " +
			"then breaks exactly that lock once somebody confirms"}
	case "confirm":
		return form{"CODE", "says yes to what `/break-lease` or `/unlock` explained; needs what that command needs"}
	case "approve-replace":
		return form{"ADDRESS [ROOT]", "says yes, as a second person, to one change that the configuration's `risk` holds back"}
	default:
		return form{}
	}
}

// usage is the command as a person has to write it.
func usage(name string) string {
	if arguments := formOf(name).arguments; arguments != "" {
		return "/" + name + " " + arguments
	}
	return "/" + name
}
