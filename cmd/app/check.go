package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

type checkCommand struct {
	File    string   `arg:"" optional:"" default:".github/switchyard.yml" help:"Configuration file; - reads standard input."`
	PR      []string `name:"pr" placeholder:"FROM:TO" help:"What would happen to a pull request between these branches."`
	Push    []string `placeholder:"BRANCH" help:"What would happen on a push to this branch."`
	Comment []string `placeholder:"TEXT" help:"What would happen on this comment on a pull request."`
	As      string   `default:"write" enum:"none,read,triage,write,maintain,admin" help:"Permission of who comments."`
	On      string   `default:"feature/x:develop" placeholder:"FROM:TO" help:"The pull request that is commented on."`
	Release []string `placeholder:"BRANCH" help:"A release branch that is open, beside those asked about."`
}

// maxConfig bounds what is read; repoconfig refuses less.
const maxConfig = 1 << 20

// Run validates the file and answers the questions. A file with problems ends with status 1.
func (c checkCommand) Run() error {
	data, err := c.read()
	if err != nil {
		return err
	}
	config, err := repoconfig.Parse(data)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return &exitError{1}
	}
	if len(c.PR)+len(c.Push)+len(c.Comment) == 0 {
		fmt.Printf("%s is valid: %d environments, %d roots.\n", c.File, len(config.Environments), len(config.Roots))
		return nil
	}
	facts := gitflow.Facts{OpenReleases: c.Release}
	for _, pair := range c.PR {
		from, to, err := cutPair("--pr", pair)
		if err != nil {
			return err
		}
		fmt.Print(gitflow.DecidePullRequest(config, gitflow.PullRequest{From: from, To: to}, facts))
	}
	for _, branch := range c.Push {
		fmt.Print(gitflow.DecidePush(config, gitflow.Push{Branch: branch}, facts))
	}
	for _, text := range c.Comment {
		if err := c.comment(config, text); err != nil {
			return err
		}
	}
	return nil
}

func (c checkCommand) read() ([]byte, error) {
	in := io.Reader(os.Stdin)
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxConfig))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return data, nil
}

// comment prints what a comment would lead to.
func (c checkCommand) comment(config repoconfig.Config, text string) error {
	_, to, err := cutPair("--on", c.On)
	if err != nil {
		return err
	}
	command, ours, parseErr := commands.Parse(text)
	if !ours {
		fmt.Println("nothing   the first line is not a command")
		return nil
	}
	thread := commands.Thread{Pull: 1, State: "open", Base: to}
	if environment, ok := config.EnvironmentOf(to); ok {
		thread.Environment = environment.Name
	}
	decision := commands.Decide(config, command, parseErr, commands.Person{Login: "you", Permission: c.As}, thread)
	switch {
	case decision.Refusal != "":
		fmt.Println("refused   " + decision.Refusal)
	case decision.Do == "help":
		fmt.Println(commands.Help(config, commands.Person{Login: "you", Permission: c.As}))
	default:
		fmt.Println("accepted  " + strings.TrimSpace("/"+decision.Do+" "+decision.Command.Environment))
	}
	return nil
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
		return errors.Join(errors.New("make the schema"), err)
	}
	fmt.Println(string(schema))
	return nil
}
