package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

type checkCommand struct {
	File    string   `arg:"" optional:"" default:".github/switchyard.yml" help:"Configuration file; - reads standard input."`
	PR      []string `name:"pr" sep:"none" placeholder:"FROM:TO" help:"What would happen to a pull request between these branches."`
	Push    []string `sep:"none" placeholder:"BRANCH" help:"What would happen on a push to this branch."`
	Comment []string `sep:"none" placeholder:"TEXT" help:"What would happen on this comment on a pull request."`
	As      string   `default:"write" enum:"none,read,triage,write,maintain,admin" help:"Permission of who comments."`
	Team    []string `sep:"none" placeholder:"TEAM" help:"A team that who comments is in."`
	On      string   `default:"feature/x:develop" placeholder:"FROM:TO" help:"What is commented on. Unless told: feature/x:develop."`
	Release []string `sep:"none" placeholder:"BRANCH" help:"A release branch that is open, beside those asked about."`
}

const (
	// maxConfig bounds what is read; repoconfig refuses less.
	maxConfig = 1 << 20
	// maxProblems bounds what is printed of one file: more do not help.
	maxProblems = 20
	// refusedStatus is the exit status of an answer that is no. A script that expects a refusal must not take a broken file, which
	// ends with 1, for one.
	refusedStatus = 2
)

// Help says what a script needs to know.
func (checkCommand) Help() string {
	return "Ends with status 0 when the file is valid and nothing that was asked about is refused, with 2 when something is refused, " +
		"and with 1 when the file is wrong or cannot be read. It needs neither git nor Terraform, and asks nobody."
}

// Run validates the file and answers the questions. A file with problems ends with status 1, a refusal with refusedStatus.
func (c checkCommand) Run() error {
	data, err := c.read()
	if err != nil {
		return err
	}
	config, err := repoconfig.Parse(data)
	if problems := (*repoconfig.Problems)(nil); errors.As(err, &problems) {
		c.printProblems(*problems)
		return &exitError{1}
	}
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	if len(c.PR)+len(c.Push)+len(c.Comment) == 0 {
		fmt.Printf("%s is valid: %s, %s.\n", c.name(), count(len(config.Environments), "environment"), count(len(config.Roots), "root"))
		return nil
	}
	refused, err := c.answer(config)
	if err != nil {
		return err
	}
	if refused {
		return &exitError{refusedStatus}
	}
	return nil
}

// answer prints what would happen, and reports whether any of it is refused.
func (c checkCommand) answer(config repoconfig.Config) (refused bool, err error) {
	facts := gitflow.Facts{OpenReleases: c.Release}
	decided := func(decision gitflow.Decision) {
		fmt.Print(decision)
		refused = refused || decision.Verdict == gitflow.Refused
	}
	for _, pair := range c.PR {
		from, to, err := cutPair("--pr", pair)
		if err != nil {
			return false, err
		}
		decided(gitflow.DecidePullRequest(config, gitflow.PullRequest{From: from, To: to}, facts))
	}
	for _, branch := range c.Push {
		decided(gitflow.DecidePush(config, gitflow.Push{Branch: branch}, facts))
	}
	for _, text := range c.Comment {
		no, err := c.comment(config, text)
		if err != nil {
			return false, err
		}
		refused = refused || no
	}
	return refused, nil
}

// name is the file as messages name it.
func (c checkCommand) name() string {
	if c.File == "-" {
		return "standard input"
	}
	return c.File
}

// printProblems prints a line for each problem, with the place as editors and terminals know it.
func (c checkCommand) printProblems(problems repoconfig.Problems) {
	for i, problem := range problems {
		if i == maxProblems {
			fmt.Fprintf(os.Stderr, "and %d more\n", len(problems)-i)
			return
		}
		fmt.Fprintf(os.Stderr, "%s:%d:%d: %s\n", c.name(), problem.Line, problem.Column, problem.Message)
	}
}

func (c checkCommand) read() ([]byte, error) {
	in := io.Reader(os.Stdin)
	if c.File != "-" {
		file, err := os.Open(c.File)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %q; name the file to check, or - to read standard input", c.File)
		}
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		defer func() { _ = file.Close() }()
		if info, err := file.Stat(); err == nil && info.IsDir() {
			return nil, fmt.Errorf("%q is a directory; name the file in it, for example %q", c.File, path.Join(c.File, repoconfig.Path))
		}
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if len(data) > maxConfig {
		return nil, fmt.Errorf("%s is larger than 1 MiB, which no configuration is; name %s", c.name(), repoconfig.Path)
	}
	return data, nil
}

// comment prints what a comment would lead to, and reports whether it is refused.
func (c checkCommand) comment(config repoconfig.Config, text string) (refused bool, err error) {
	_, to, err := cutPair("--on", c.On)
	if err != nil {
		return false, err
	}
	command, ours, parseErr := commands.Parse(text)
	if !ours {
		fmt.Println("nothing   the first line is not a command")
		return false, nil
	}
	thread := commands.Thread{Pull: 1, State: "open", Base: to}
	if environment, ok := config.EnvironmentOf(to); ok {
		thread.Environment = environment.Name
	}
	person := commands.Person{Login: "you", Permission: c.As, Teams: c.Team}
	decision := commands.Decide(config, command, parseErr, person, thread)
	switch {
	case decision.Refusal != "":
		fmt.Println("refused   " + decision.Refusal)
	case decision.Do == "help":
		fmt.Println(commands.Help(config, person))
	default:
		words := []string{"/" + decision.Do, decision.Command.Environment, decision.Command.Root, decision.Command.Digest}
		given := strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), " ")
		fmt.Printf("accepted  %s: /%s needs %s permission\n", given, decision.Do, config.Permission(decision.Do))
	}
	return decision.Refusal != "", nil
}

// count is a number with its noun: 1 root, 2 roots.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func cutPair(flag, pair string) (from, to string, err error) {
	from, to, ok := strings.Cut(pair, ":")
	if !ok || from == "" || to == "" {
		return "", "", fmt.Errorf("%s %q: write it as FROM:TO, for example %s feature/x:develop", flag, pair, flag)
	}
	return from, to, nil
}

type schemaCommand struct{}

// Run prints the schema.
func (schemaCommand) Run() error {
	schema, err := repoconfig.Schema()
	if err != nil {
		return fmt.Errorf("make the schema: %w", err)
	}
	fmt.Print(string(schema))
	return nil
}
