package repoconfig

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/switchyard-dev/switchyard/operation"
)

const (
	maxEnvironments = 50
	maxPatterns     = 100 // of all environments: each pair is compared
	maxName         = 63  // of an environment; GitHub takes 255, but a person has to type it in commands
)

var (
	nameForm        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	versionForm     = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)
	settingForm     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)
	teamForm        = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	placeholderForm = regexp.MustCompile(`\{[^{}]*\}?|\}`)
)

// validator checks what the shape alone does not show, and makes a Config of it.
type validator struct {
	*decoder

	file   File
	config Config
}

func validate(file File, d *decoder) Config {
	v := validator{decoder: d, file: file, config: Config{
		Version:     file.Version,
		Application: file.Application,
		Executor:    file.Executor,
		Actions:     Actions{Workflow: cmp.Or(file.Actions.Workflow, defaultWorkflow), Plans: cmp.Or(file.Actions.Plans, defaultPlans)},
		Terraform:   Terraform{Binary: BinaryTerraform, Version: file.Terraform.Version},
		Commands:    map[string]Command{},
	}}
	if file.Terraform.Binary != "" {
		v.config.Terraform.Binary = file.Terraform.Binary
	}
	v.application()
	v.environments()
	v.branches()
	v.promotion()
	v.regions()
	v.roots()
	v.states()
	v.flow()
	v.risk()
	v.mask()
	v.machineAuthors()
	v.terraform()
	v.actions()
	v.modules()
	v.commands()
	return v.config
}

func (v *validator) at(path string) place { return v.places[path] }

func (v *validator) application() {
	if name := v.file.Application; name != "" && !nameForm.MatchString(name) {
		v.problemf(v.at("application"), "`application` is %s. Write letters, digits, dots, dashes and underscores, "+
			"beginning with a letter or digit.",
			quote(name))
	}
}

func (v *validator) environments() {
	names := v.order["environments"]
	if at, given := v.places["environments"]; given && v.file.Environments != nil && len(names) == 0 {
		v.problemf(at, "`environments` is empty. Example: `environments: { dev: { branch: develop } }`.")
	}
	if len(names) > maxEnvironments {
		v.problemf(v.at("environments"), "`environments` has %d names. At most %d are allowed.", len(names), maxEnvironments)
		names = names[:maxEnvironments]
	}
	lower := map[string]string{}
	for _, name := range names {
		at := v.at("environments." + name)
		switch before, twice := lower[strings.ToLower(name)]; {
		case !nameForm.MatchString(name) || len(name) > maxName:
			v.problemf(at, "%s cannot be the name of an environment. Write letters, digits, dots, dashes and underscores, "+
				"beginning with a letter or digit, at most %d.",
				quote(name), maxName)
		case slices.Contains(operation.ReservedNames(), strings.ToLower(name)):
			v.problemf(at, "%s cannot be the name of an environment, because it is a word of the commands (`/%s`). Choose another name.",
				quote(name), strings.ToLower(name))
		case twice:
			v.problemf(at, "%s and %s are the same GitHub Environment, because GitHub does not tell upper from lower case there. Rename one.",
				quote(before), quote(name))
		default:
			lower[strings.ToLower(name)] = name
		}
		made := environment(name, v.file.Environments[name])
		if made.Approvals > 0 && made.Binding == operation.BindNoNewRisk {
			where := "environments." + name
			v.problemf(v.at(where+".binding"), "`%s.binding` is %q although `%s.approvals` (line %d) asks for approvals: changes without a risk "+
				"would be applied although nobody approved them. Leave one of the two out.",
				where, string(made.Binding), where, v.at(where+".approvals").line)
		}
		v.config.Environments = append(v.config.Environments, made)
	}
}

// environment fills in what a file leaves to its defaults.
func environment(name string, file EnvironmentFile) Environment {
	made := Environment{
		Name: name, Branches: file.Branch, After: file.After, Approvals: file.Approvals,
		Binding: operation.Binding(file.Binding), Regions: file.Regions,
	}
	switch {
	case made.Binding != "":
	case made.Approvals > 0:
		made.Binding = operation.BindStrict
	default:
		made.Binding = operation.BindNoNewRisk
	}
	return made
}

// branches checks every branch pattern, and that no branch belongs to two environments.
func (v *validator) branches() {
	type claim struct{ environment, path, pattern string }
	var claims []claim
	for _, environment := range v.config.Environments {
		for i, pattern := range environment.Branches {
			where := fmt.Sprintf("environments.%s.branch[%d]", environment.Name, i)
			if _, listed := v.places[where]; !listed {
				where = fmt.Sprintf("environments.%s.branch", environment.Name)
			}
			if v.pattern(where, pattern) {
				claims = append(claims, claim{environment.Name, where, pattern})
			}
		}
	}
	if len(claims) > maxPatterns {
		v.problemf(v.at("environments"), "`environments` has %d branch patterns. At most %d are allowed.", len(claims), maxPatterns)
		return
	}
	for i, later := range claims {
		for _, earlier := range claims[:i] {
			if earlier.environment == later.environment {
				continue
			}
			if branch, both := overlap(earlier.pattern, later.pattern); both {
				v.problemf(v.at(later.path), "`%s` %s and `%s` %s (line %d) both take the branch %s. "+
					"A branch belongs to one environment: change one of them.",
					show(later.path), quote(later.pattern), show(earlier.path), quote(earlier.pattern), v.at(earlier.path).line, quote(branch))
				break
			}
		}
	}
}

// pattern checks that a pattern can match the name of a branch at all.
// https://git-scm.com/docs/git-check-ref-format
func (v *validator) pattern(where, pattern string) bool {
	if pattern == "" {
		return false // said where it was decoded, or the key is missing
	}
	var wrong string
	switch {
	case strings.HasPrefix(pattern, "refs/"):
		wrong = "Leave out refs/heads/: a branch is named by its short name"
	case strings.ContainsAny(pattern, " ~^:?[\\") || strings.ContainsFunc(pattern, invisible):
		wrong = "It has a character that no branch name has; the only wildcards are * and **"
	case strings.Contains(pattern, "***"):
		wrong = "The only wildcards are * (within one segment) and ** (across segments)"
	case strings.HasPrefix(pattern, "/") || strings.HasSuffix(pattern, "/") || strings.Contains(pattern, "//") ||
		strings.Contains(pattern, "..") || strings.HasSuffix(pattern, ".") || strings.HasSuffix(pattern, ".lock") || pattern == "@":
		wrong = "No branch can have such a name"
	default:
		return true
	}
	v.problemf(v.at(where), "`%s` is %s. %s.", show(where), quote(pattern), wrong)
	return false
}

// invisible tells characters that people do not see, or that change how others are shown.
func invisible(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar
}

func (v *validator) roots() {
	dirs := map[string]int{}
	for i, root := range v.file.Roots {
		where := fmt.Sprintf("roots[%d]", i)
		inside := root.Dir != "" && v.dir(where+".dir", root.Dir)
		if root.Dir != "" {
			if first, twice := dirs[root.Dir]; twice {
				v.problemf(v.at(where+".dir"), "`%s.dir` and `roots[%d].dir` (line %d) are both %s. Keep one root for a directory.",
					where, first, v.at(fmt.Sprintf("roots[%d].dir", first)).line, quote(root.Dir))
			} else {
				dirs[root.Dir] = i
			}
		}
		for j, file := range root.VarFiles {
			if !inside {
				break // where its files are is not known either
			}
			v.varFile(fmt.Sprintf("%s.var_files[%d]", where, j), root.Dir, file)
		}
		backend := v.backend(where+".backend", root.Backend)
		files := make([]string, 0, len(root.VarFiles))
		for _, file := range root.VarFiles {
			files = append(files, strings.ReplaceAll(file, placeholderApplication, v.file.Application))
		}
		if root.Region != "" {
			v.region(where+".region", root.Region)
		}
		v.config.Roots = append(v.config.Roots, Root{Dir: root.Dir, VarFiles: files, Backend: backend, Region: root.Region})
	}
}

func (v *validator) dir(where, dir string) bool {
	wrong := inRepository(dir)
	switch {
	case wrong != "":
	case strings.ContainsAny(dir, "{}*"):
		wrong = "It names one directory: it takes neither placeholders nor wildcards"
	case path.Clean(dir) != dir:
		wrong = fmt.Sprintf("Write %q", path.Clean(dir))
	default:
		return true
	}
	v.problemf(v.at(where), "`%s` is %s. %s.", where, quote(dir), wrong)
	return false
}

func (v *validator) varFile(where, dir, file string) {
	if file == "" {
		return // said where it was decoded
	}
	var wrong string
	// A file of a directory next to the root is fine, one outside the repository is not.
	switch {
	case path.IsAbs(file):
		wrong = "Write the path relative to the root's `dir`"
	case strings.ContainsFunc(file, invisible) || strings.Contains(file, `\`):
		wrong = inRepository(file)
	case inRepository(path.Join(dir, file)) != "":
		wrong = inRepository(path.Join(dir, file))
	case strings.Contains(file, "*"):
		wrong = "It names one file: it takes no wildcards"
	case strings.HasSuffix(file, "/"):
		wrong = "It names a directory, not a file"
	default:
		v.placeholders(where, file)
		return
	}
	v.problemf(v.at(where), "`%s` is %s. %s.", where, quote(file), wrong)
}

// inRepository says what keeps a path from naming something inside the repository; "" if nothing does.
func inRepository(name string) string {
	switch {
	case strings.ContainsFunc(name, invisible):
		return "It has a character that cannot be seen. Write the path again"
	case strings.Contains(name, `\`):
		return fmt.Sprintf("Write forward slashes: %q", shorten(strings.ReplaceAll(name, `\`, "/")))
	case path.IsAbs(name):
		return "Write the path from the top of the repository, without a slash before it"
	case path.Clean(name) == ".." || strings.HasPrefix(path.Clean(name), "../"):
		return "It leads out of the repository"
	case slices.Contains(strings.Split(strings.ToLower(path.Clean(name)), "/"), ".git"):
		return "It leads into git's own directory"
	default:
		return ""
	}
}

func (v *validator) backend(where string, settings map[string]Setting) map[string]string {
	if len(settings) > 50 {
		v.problemf(v.at(where), "`%s` has %d settings. At most 50 are allowed.", where, len(settings))
		return nil
	}
	backend := make(map[string]string, len(settings))
	for _, name := range v.order[where] {
		value, at := string(settings[name]), v.at(where+"."+name)
		backend[name] = value
		switch {
		case !settingForm.MatchString(name):
			v.problemf(at, "%s in `%s` cannot be the name of a setting. Write letters, digits, dots, dashes and underscores.", quote(name), where)
		case secret(name):
			v.problemf(at, "%s in `%s` is a secret, and the repository is no place for it. Remove it here, "+
				"change it where it is in use, and give it to the server.",
				quote(name), where)
		case strings.ContainsFunc(value, invisible):
			v.problemf(at, "%s in `%s` has a character that cannot be seen. Write the value again.", quote(name), where)
		default:
			v.placeholders(where+"."+name, value)
		}
	}
	if len(backend) == 0 {
		return nil
	}
	return backend
}

// secret tells the backend settings that hold one.
// https://developer.hashicorp.com/terraform/language/backend/azurerm and the pages of the other backends
func secret(name string) bool {
	return slices.Contains([]string{
		"access_key", "sas_token", "client_secret", "client_certificate_password", "oidc_token", "oidc_request_token",
		"secret_key", "token", "password", "credentials", "conn_str",
	}, name)
}

// placeholders checks everything in braces. An unknown one would become part of a state's name as it is.
func (v *validator) placeholders(where, text string) {
	known := []string{placeholderEnvironment, placeholderApplication}
	for _, found := range placeholderForm.FindAllString(text, -1) {
		switch {
		case found == placeholderApplication && v.file.Application == "":
			v.problemf(v.at(where), "`%s` uses `%s`, but `application` is missing. "+
				"Add `application: NAME` at the top of the file.", show(where), found)
			return
		case !slices.Contains(known, found):
			hint := ""
			if nearest := Nearest(found, known); nearest != "" {
				hint = fmt.Sprintf(" Did you mean `%s`?", nearest)
			}
			v.problemf(v.at(where), "`%s` has the placeholder %s, which does not exist.%s Possible: `%s`.",
				show(where), quote(found), hint, strings.Join(known, "`, `"))
			return
		}
	}
}

// states refuses what would let two targets write the same state.
func (v *validator) states() {
	// OpenTofu may read variables in its backend block, so the environment can be there and not here.
	several := len(v.config.Environments) > 1 && v.config.Terraform.Binary != BinaryTofu
	for i, root := range v.config.Roots {
		where := fmt.Sprintf("roots[%d]", i)
		if several && root.Dir != "" && !usesEnvironment(root.Backend) {
			at, given := v.places[where+".backend"]
			if !given {
				at = v.at(where)
			}
			v.problemf(at, "`%s.backend` does not use `%s`, so all environments would write one state. Example: `backend: { key: \"%s\" }`.",
				where, placeholderEnvironment, "network-"+placeholderEnvironment)
		}
		for j, other := range v.config.Roots[:i] {
			if root.Backend["key"] != "" && maps.Equal(root.Backend, other.Backend) {
				v.problemf(v.at(where+".backend"), "`%s.backend` and `roots[%d].backend` (line %d) are the same, "+
					"so both roots would write one state. Change `key` in one of them.",
					where, j, v.at(fmt.Sprintf("roots[%d].backend", j)).line)
				break
			}
		}
	}
}

func usesEnvironment(backend map[string]string) bool {
	for _, value := range backend {
		if strings.Contains(value, placeholderEnvironment) {
			return true
		}
	}
	return false
}

func (v *validator) flow() {
	for i, allow := range v.file.Flow.Allow {
		where := fmt.Sprintf("flow.allow[%d]", i)
		v.pattern(where+".from", allow.From)
		v.pattern(where+".to", allow.To)
		v.config.Flow.Allow = append(v.config.Flow.Allow, Allow(allow))
	}
}

func (v *validator) terraform() {
	if version := v.file.Terraform.Version; version != "" && !versionForm.MatchString(version) {
		v.problemf(v.at("terraform.version"), "`terraform.version` is %s. "+
			"Write one exact version, for example `version: 1.11.4`.", quote(version))
	}
}

func (v *validator) commands() {
	for _, name := range v.order["commands"] {
		at, command := v.at("commands."+name), v.file.Commands[name]
		words := operation.CommandWords()
		i := slices.IndexFunc(words, func(w operation.CommandWord) bool { return w.Name == name })
		switch {
		case i < 0:
			v.unknownCommand(at, name)
			continue
		case words[i].Later:
			v.problemf(at, "the command `/%s` is known, but it is not in effect in this version of Switchyard. Remove it in `commands`.", name)
			continue
		case command.Permission != "" && operation.PermissionRank(command.Permission) < operation.PermissionRank(words[i].Permission):
			v.problemf(v.at("commands."+name+".permission"), "`commands.%s.permission` is %s, but `/%s` needs at least %s. "+
				"Configuration can ask for more, never for less.",
				name, command.Permission, name, words[i].Permission)
		}
		v.only(name, "confirm", "break-lease", "unlock")
		v.only(name, "reason", "break-lease")
		for j, team := range command.Teams {
			v.team(fmt.Sprintf("commands.%s.teams[%d]", name, j), team)
		}
		v.config.Commands[name] = Command(command)
	}
}

// only refuses a key of a command where it would have no effect.
func (v *validator) only(name, key string, commands ...string) {
	at, given := v.places["commands."+name+"."+key]
	if given && !slices.Contains(commands, name) {
		v.problemf(at, "`commands.%s.%s` has no effect: only `%s` can have `%s`. Remove it.",
			name, key, strings.Join(commands, "` and `"), key)
	}
}

func (v *validator) unknownCommand(at place, name string) {
	names := commandsInEffect()
	hint := ""
	if nearest := Nearest(strings.TrimPrefix(name, "/"), names); nearest != "" {
		hint = fmt.Sprintf(" Did you mean `%s`?", nearest)
	}
	v.problemf(at, "unknown command %s in `commands`.%s Known: `%s`.", quote(name), hint, strings.Join(names, "`, `"))
}

func (v *validator) team(where, team string) {
	if team == "" || teamForm.MatchString(team) {
		return // an empty one was said where it was decoded
	}
	slug := strings.ToLower(team[strings.LastIndex(team, "/")+1:])
	hint := "Write the team's slug, as in the address of its page"
	if teamForm.MatchString(slug) {
		hint = fmt.Sprintf("Write only the team's slug: %q", slug)
	}
	v.problemf(v.at(where), "`%s` is %s. %s.", where, quote(team), hint)
}

func commandsInEffect() []string {
	var names []string
	for _, word := range operation.CommandWords() {
		if !word.Later {
			names = append(names, word.Name)
		}
	}
	return names
}
