package settings

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Prefix begins the name of every environment variable that sets an option.
const Prefix = "SWITCHYARD_"

// webDefault is where github.com is.
const webDefault = "https://github.com"

// option is one option: its key in the file, what it does, and how its value is read. The key gives
// the variable's name: github.url is SWITCHYARD_GITHUB_URL.
type option struct {
	key     string
	doc     string // one or more sentences for the reference; Markdown
	initial string // the default as the reference shows it
	fix     string // what a right value looks like, as one sentence
	list    bool   // several values: a sequence in the file, separated by commas in the variable
	secret  bool   // its value is never shown
	onlyEnv bool   // not accepted in the file
	set     func(s *Settings, values []string) error
}

func (o option) variable() string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(o.key, ".", "_"))
}

// options lists all options in the order of the reference.
func options() []option {
	return slices.Concat(serverOptions(), githubOptions(), terraformOptions(), isolationOptions(), operationOptions(), logOptions())
}

func serverOptions() []option {
	d := Defaults()
	return []option{
		{
			key: "listen", initial: d.Listen, fix: `Write host:port or :port, e.g. ":8080".`,
			doc: "Address to listen on. Put a proxy that speaks TLS before it.",
			set: one(func(s *Settings, v string) error {
				_, port, err := net.SplitHostPort(v)
				if number, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || number == 0 {
					return wrong("is not an address with a port")
				}
				s.Listen = v
				return nil
			}),
		},
		{
			key: "public_url", initial: "none", fix: "Write the URL by which jobs reach this server, e.g. https://switchyard.example.com.",
			doc: "URL of this server, where the jobs of workflows can reach it. With it, a job that is about to apply asks whether its operation " +
				"still has its hold, and applies nothing without a yes; and it gets the token for private modules. The proxy before the server " +
				"must let `/api/job/` through.",
			set: one(func(s *Settings, v string) error { return setURL(&s.PublicURL, v) }),
		},
		{
			key: "data_dir", initial: d.DataDir, fix: "Write an absolute path.",
			doc: "Directory for the database, the mirrors of repositories and the work directories of operations. No other process may use it.",
			set: one(func(s *Settings, v string) error { return setPath(&s.DataDir, v) }),
		},
		number("replicas", d.Replicas, 1, maxReplicas, "How many servers share the database. Together they write no more to GitHub than one.",
			func(s *Settings) *int { return &s.Replicas }),
		{
			key: "database", initial: "sqlite:DATA_DIR/switchyard.db",
			fix: "Write sqlite: and an absolute path, or postgres://user@host/database.",
			doc: "Database. `sqlite:/path/file.db`, on a local disk, serves one process. `postgres://user:PASSWORD@host/database` " +
				"(PostgreSQL 15 or later) is shared by any number of replicas, each with a data directory of its own.",
			set: one(setDatabase),
		},
		{
			key: "clients", initial: strconv.Itoa(d.Clients), fix: "Write a number from 1 to 100000.",
			doc: "How many installations' access tokens are kept in memory. With fewer than there are, tokens are bought again and again.",
			set: one(func(s *Settings, v string) error { return setNumber(&s.Clients, v, 1, 100_000) }), //nolint:mnd // said in fix
		},
		{
			key: "network", list: true, initial: strings.Join(d.Network, ", "),
			fix: "Write names of environment variables, e.g. HTTPS_PROXY.",
			doc: "Names of the environment variables with proxies and certificates. git and Terraform get those that are set. " +
				"Where git's own are not, it gets the file of `SSL_CERT_FILE` and the first directory of `SSL_CERT_DIR` as such. " +
				"A file takes the place of the system's, so it has to have the public authorities, too, where they are needed.",
			set: func(s *Settings, v []string) error { return setNames(&s.Network, v) },
		},
	}
}

func githubOptions() []option {
	return []option{
		{
			key: "app_id", fix: "Write the App ID from the App's settings page on GitHub, e.g. 123456.",
			doc: "ID of the GitHub App. Required.",
			set: one(func(s *Settings, v string) error {
				id, err := strconv.ParseInt(v, 10, 64)
				if err != nil || id <= 0 {
					return wrong("is not the ID of an App")
				}
				s.AppID = id
				return nil
			}),
		},
		{
			key: "private_key", secret: true, onlyEnv: true,
			fix: "Give the PEM text of a key that was generated on the App's settings page; line ends may be written as \\n.",
			doc: "Private key of the App, PEM. Only as an environment variable. This or `private_key_file` is required.",
			set: one(func(s *Settings, v string) error {
				return setPrivateKey(s, []byte(strings.ReplaceAll(v, `\n`, "\n")))
			}),
		},
		{
			key: "private_key_file", fix: "Write the path of the PEM file that was downloaded from the App's settings page.",
			doc: "File with the private key of the App, PEM. Refused where other users of the host may read it; " +
				"on a read-only mount, as platforms mount secrets, it may have any mode.",
			set: one(readPrivateKey),
		},
		{
			key: "webhook_secrets", list: true, secret: true,
			fix: "Give the secret of the App's webhook; while it is being changed, the new and the old one.",
			doc: "Secrets of the App's webhook; a delivery signed with any of them is accepted. Several allow a change without a gap. Required.",
			set: setSecrets,
		},
		{
			key: "github.url", initial: webDefault, fix: "Write the URL of the GitHub server, e.g. https://github.example.com.",
			doc: "GitHub server. For GitHub Enterprise Server, and for GHE.com, this one option is enough.",
			set: one(func(s *Settings, v string) error {
				var web string
				if err := setURL(&web, v); err != nil {
					return err
				}
				s.GitHub = addressesOf(web)
				return nil
			}),
		},
		{
			key: "github.api", initial: "from `github.url`", fix: "Write the root of the REST API, e.g. https://github.example.com/api/v3.",
			doc: "Root of the REST API, where it cannot be derived.",
			set: one(func(s *Settings, v string) error { return setURL(&s.GitHub.API, v) }),
		},
		{
			key: "github.graphql", initial: "from `github.url`",
			fix: "Write the address of the GraphQL API, e.g. https://github.example.com/api/graphql.",
			doc: "Address of the GraphQL API, where it cannot be derived.",
			set: one(func(s *Settings, v string) error { return setURL(&s.GitHub.GraphQL, v) }),
		},
		{
			key: "github.issuer", initial: "from `github.url`",
			fix: "Write the issuer of the tokens of workflow jobs, e.g. https://github.example.com/_services/token.",
			doc: "Issuer of the OIDC tokens by which jobs of workflows say who they are, where it cannot be derived: " +
				"an enterprise can have its own.",
			set: one(func(s *Settings, v string) error { return setURL(&s.GitHub.Issuer, v) }),
		},
	}
}

func executorOption() option {
	known := []string{ExecutorLocal, ExecutorActions}
	return option{
		key: "executors", list: true, initial: strings.Join(Defaults().Executors, ", "),
		fix: "Write one or more of: " + strings.Join(known, ", ") + ".",
		doc: "Where Terraform may run: `local`, on this host, or `actions`, in workflows of the repositories. A repository chooses one of them " +
			"with `executor`; one that names none has the first. A server that allows `actions` alone needs neither Terraform nor " +
			"credentials of a cloud.",
		set: func(s *Settings, v []string) error {
			var executors []string
			for _, name := range v {
				switch {
				case !slices.Contains(known, name):
					return wrong(fmt.Sprintf("has %q, which is no executor", name))
				case slices.Contains(executors, name):
					return wrong(fmt.Sprintf("has %q twice", name))
				}
				executors = append(executors, name)
			}
			if len(executors) == 0 {
				return wrong("is empty: nothing could run")
			}
			s.Executors = executors
			return nil
		},
	}
}

func terraformOptions() []option {
	version := regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
	return []option{
		executorOption(),
		{
			key: "terraform.path", initial: "found on PATH, else downloaded", fix: "Write the absolute path of the binary.",
			doc: "The terraform or tofu binary.",
			set: one(func(s *Settings, v string) error { return setPath(&s.Terraform.Path, v) }),
		},
		{
			key: "terraform.version", initial: "any", fix: "Write a whole version, e.g. 1.11.4.",
			doc: "The version that must run.",
			set: one(func(s *Settings, v string) error {
				if !version.MatchString(v) {
					return wrong("is not a version")
				}
				s.Terraform.Version = v
				return nil
			}),
		},
		{
			key: "terraform.plugin_cache", initial: "none", fix: "Write an absolute path.",
			doc: "Directory where providers are kept between operations.",
			set: one(func(s *Settings, v string) error { return setPath(&s.Terraform.PluginCache, v) }),
		},
		{
			key: "terraform.env", list: true, initial: "none", fix: "Write names of environment variables, e.g. ARM_CLIENT_ID.",
			doc: "Names of further environment variables that Terraform gets: credentials, `TF_TOKEN_*`, `TF_CLI_CONFIG_FILE`. " +
				"It gets nothing else. Plan code can read them.",
			set: func(s *Settings, v []string) error { return setNames(&s.Terraform.Env, v) },
		},
	}
}

func isolationOptions() []option {
	var names []string
	for _, p := range operation.Protections() {
		names = append(names, string(p))
	}
	return []option{
		{
			key: "isolation.read", list: true, initial: "none", fix: "Write absolute paths, e.g. /opt/providers.",
			doc: "Paths that Terraform, and the code of pull requests with it, may read beside programs, libraries and certificates: " +
				"a mirror of providers, a directory of identity tokens, tools. A path stands for all that is below it.",
			set: func(s *Settings, v []string) error { return setPaths(&s.Isolation.Read, v) },
		},
		{
			key: "isolation.write", list: true, initial: "none", fix: "Write absolute paths, e.g. /srv/states.",
			doc: "Paths that Terraform, and the code of pull requests with it, may change: where the `local` backend keeps states. " +
				"Every operation of every repository may change them.",
			set: func(s *Settings, v []string) error { return setPaths(&s.Isolation.Write, v) },
		},
		{
			key: "isolation.missing", list: true, initial: "none", fix: "Write names from: " + strings.Join(names, ", ") + ".",
			doc: "Protections that this host is too old for and that you do without. The server refuses to start where one is missing that " +
				"is not named here, and says what the code of a pull request can do then. All that the host can enforce is enforced anyway.",
			set: func(s *Settings, v []string) error {
				var accepted []operation.Protection
				for _, name := range v {
					if !slices.Contains(names, name) {
						return wrong(fmt.Sprintf("has %q, which is no protection", name))
					}
					accepted = append(accepted, operation.Protection(name))
				}
				s.Isolation.Missing = accepted
				return nil
			},
		},
	}
}

func operationOptions() []option {
	d := Defaults()
	duration := func(key string, initial time.Duration, doc string, field func(*Settings) *time.Duration) option {
		return option{
			key: key, initial: people(initial), doc: doc, fix: "Write a time with its unit, from 1s to 24h, e.g. 30m.",
			set: one(func(s *Settings, v string) error {
				parsed, err := time.ParseDuration(v)
				if err != nil || parsed < time.Second || parsed > 24*time.Hour {
					return wrong("is not a time from 1s to 24h")
				}
				*field(s) = parsed
				return nil
			}),
		}
	}
	const most = 64 // operations at once: more than one machine can plan
	return []option{
		number("parallel.plans", d.Parallel.Plans, 1, most, "How many plans run at once.",
			func(s *Settings) *int { return &s.Parallel.Plans }),
		number("parallel.applies", d.Parallel.Applies, 1, most, "How many applies run at once, each in another environment.",
			func(s *Settings) *int { return &s.Parallel.Applies }),
		number("replans", d.Replans, 0, maxReplans, "How many open pull requests are planned again by themselves after one apply, because it "+
			"changed what they change too or their base has newer code of their roots. People's go first; the others say that their plan "+
			"is out of date. 0 is none.",
			func(s *Settings) *int { return &s.Replans }),
		duration("limits.plan", d.Limits.Plan, "A plan that takes longer is stopped.",
			func(s *Settings) *time.Duration { return &s.Limits.Plan }),
		duration("limits.apply", d.Limits.Apply, "An apply that takes longer is stopped, gently: Terraform releases its lock.",
			func(s *Settings) *time.Duration { return &s.Limits.Apply }),
		duration("limits.lock", d.Limits.Lock, "How long an apply waits for Terraform's state lock.",
			func(s *Settings) *time.Duration { return &s.Limits.Lock }),
		duration("limits.stop_grace", d.Limits.StopGrace,
			"What Terraform has to end and release its lock once it is told to stop. Then it is killed.",
			func(s *Settings) *time.Duration { return &s.Limits.StopGrace }),
		duration("limits.queue", d.Limits.Queue, "After this time people are told that no runner has taken a workflow run. It goes on waiting.",
			func(s *Settings) *time.Duration { return &s.Limits.Queue }),
		number("writes.per_minute", d.Writes.PerMinute, 0, maxWrites, "How often one installation is written to in a minute; the rest waits. "+
			"GitHub allows 80 and then refuses everything for a while. 0 is no bound, for a GitHub Enterprise Server without rate limits.",
			func(s *Settings) *int { return &s.Writes.PerMinute }),
		number("writes.per_hour", d.Writes.PerHour, 0, maxWrites,
			"How often one installation is written to in an hour. GitHub allows 500. 0 is no bound.",
			func(s *Settings) *int { return &s.Writes.PerHour }),
		{
			key: "retention", initial: people(d.Retention), fix: "Write a time with its unit, from 96h to 8760h, e.g. 720h.",
			doc: "How long webhook deliveries are kept. GitHub sends a delivery again for three days, and one that was forgotten " +
				"would be accepted once more. Work directories of closed pull requests and of applies that have ended, and what runners " +
				"wrote, are removed when nobody has used them for that time, and which workflow run carried an operation out is " +
				"forgotten after 90 days at least. Operations and the audit are kept for ever.",
			set: one(func(s *Settings, v string) error {
				parsed, err := time.ParseDuration(v)
				if err != nil || parsed < 4*24*time.Hour || parsed > 365*24*time.Hour {
					return wrong("is not a time from 96h to 8760h")
				}
				s.Retention = parsed
				return nil
			}),
		},
		duration("drain", d.Drain, "How long a server that is told to end waits for running operations.",
			func(s *Settings) *time.Duration { return &s.Drain }),
		duration("sweep", d.Sweep, "How often to look for webhooks that GitHub could not deliver and for operations that nobody carries on.",
			func(s *Settings) *time.Duration { return &s.Sweep }),
	}
}

// maxReplicas bounds how many servers may be said to share a database.
const maxReplicas = 100

// maxReplans bounds how many plans one apply may lead to: more open pull requests than are read of a repository.
const maxReplans = 1_000

// maxWrites bounds what can be written for the numbers of writes: more than any GitHub takes.
const maxWrites = 1_000_000

// number is an option that is a whole number.
func number(key string, initial, least, most int, doc string, field func(*Settings) *int) option {
	return option{
		key: key, initial: strconv.Itoa(initial), doc: doc, fix: fmt.Sprintf("Write a number from %d to %d.", least, most),
		set: one(func(s *Settings, v string) error { return setNumber(field(s), v, least, most) }),
	}
}

func logOptions() []option {
	d := Defaults()
	choice := func(key, initial, doc string, field func(*Settings) *string, choices ...string) option {
		return option{
			key: key, initial: initial, doc: doc, fix: "Write one of: " + strings.Join(choices, ", ") + ".",
			set: one(func(s *Settings, v string) error {
				if !slices.Contains(choices, v) {
					return wrong("is none of the choices")
				}
				*field(s) = v
				return nil
			}),
		}
	}
	return []option{
		choice("log.level", d.LogLevel, "What is logged: this and all that is worse.",
			func(s *Settings) *string { return &s.LogLevel }, "debug", "info", "warn", "error"),
		choice("log.format", d.LogFormat, "`json`, one object a line, or `text` for people.",
			func(s *Settings) *string { return &s.LogFormat }, "json", "text"),
	}
}

// wrong is what is wrong with a value, to be put after it.
type wrong string

// Error is the text itself.
func (w wrong) Error() string { return string(w) }

// remedy is what is wrong with a value, with a fix of its own.
type remedy struct{ what, fix string }

// Error is what is wrong, to be put after the value, and the fix.
func (r *remedy) Error() string { return r.what + ". " + r.fix }

// one reads an option that has one value.
func one(set func(*Settings, string) error) func(*Settings, []string) error {
	return func(s *Settings, values []string) error {
		if len(values) != 1 {
			return wrong("must be one value")
		}
		return set(s, values[0])
	}
}

func setURL(field *string, v string) error {
	parsed, err := url.Parse(v)
	switch {
	case err != nil || parsed.Host == "" || (parsed.Scheme != "https" && parsed.Scheme != "http"):
		return wrong("is not a URL")
	case parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "":
		return wrong("has more than a host and a path")
	case parsed.Scheme == "http" && !loopback(parsed.Hostname()):
		return wrong("would send tokens in clear; http is accepted on loopback only")
	}
	*field = strings.TrimRight(v, "/")
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func setDatabase(s *Settings, v string) error {
	scheme, path, _ := strings.Cut(v, ":")
	switch scheme {
	case "sqlite":
		if err := setPath(&path, path); err != nil {
			return err
		}
	case "postgres", "postgresql":
		parsed, err := url.Parse(v)
		switch {
		case err != nil || !strings.HasPrefix(path, "//"):
			return wrong("is not a URL")
		case parsed.Host == "" && !parsed.Query().Has("host"):
			return wrong("names no host")
		case strings.Trim(parsed.Path, "/") == "":
			return wrong("names no database")
		}
	default:
		return wrong("is neither a SQLite nor a PostgreSQL database")
	}
	s.Database = v
	return nil
}

func setPath(field *string, v string) error {
	if !filepath.IsAbs(v) {
		return wrong("is not an absolute path")
	}
	*field = filepath.Clean(v)
	return nil
}

func setPaths(field *[]string, values []string) error {
	paths := make([]string, len(values))
	for i, v := range values {
		if err := setPath(&paths[i], v); err != nil {
			return wrong(fmt.Sprintf("has %q, which is not an absolute path", v))
		}
	}
	*field = paths
	return nil
}

func setNumber(field *int, v string, least, most int) error {
	number, err := strconv.Atoi(v)
	if err != nil || number < least || number > most {
		return wrong(fmt.Sprintf("is not a number from %d to %d", least, most))
	}
	*field = number
	return nil
}

// setNames takes names of environment variables for child processes. Those that would change what
// Switchyard itself tells git and Terraform, or hand over its own secrets, are refused.
func setNames(field *[]string, names []string) error {
	form := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	refused := []struct{ prefix, why string }{
		{Prefix, "holds options and secrets of the server"},
		{"TF_VAR_", "would change every plan; set variables in the var files of the environment"},
		{"TF_CLI_ARGS", "would change what Terraform is told to do"},
		{"TF_WORKSPACE", "would change which state is used"},
		{"TF_DATA_DIR", "would mix the work of several operations"},
		{"GIT_", "would change what git is told to do"},
		{"LD_", "would change every program that is started"},
	}
	certificates := []string{"GIT_SSL_CAINFO", "GIT_SSL_CAPATH"}
	for _, name := range names {
		if !form.MatchString(name) {
			return wrong(fmt.Sprintf("has %q, which is not the name of a variable", name))
		}
		for _, r := range refused {
			if strings.HasPrefix(name, r.prefix) && !slices.Contains(certificates, name) {
				return wrong(fmt.Sprintf("has %s, which %s", name, r.why))
			}
		}
	}
	*field = slices.Clone(names)
	return nil
}

func setSecrets(s *Settings, values []string) error {
	var secrets [][]byte
	for _, v := range values {
		v = strings.TrimSpace(v)
		if v == "" {
			return wrong("has an empty secret: anybody could send webhooks")
		}
		secrets = append(secrets, []byte(v))
	}
	if len(secrets) == 0 {
		return wrong("is empty: anybody could send webhooks")
	}
	s.WebhookSecrets = secrets
	return nil
}

// addressesOf derives all addresses of a GitHub server from the one that people open.
// https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api
// https://docs.github.com/en/enterprise-cloud@latest/admin/data-residency/network-details-for-ghecom
// https://docs.github.com/en/enterprise-server@latest/actions/reference/security/oidc
func addressesOf(web string) GitHub {
	scheme, host, _ := strings.Cut(web, "://")
	switch {
	case host == "github.com" || strings.HasSuffix(host, ".ghe.com"):
		api := scheme + "://api." + host
		found := GitHub{Web: web, API: api, GraphQL: api + "/graphql", Issuer: scheme + "://token.actions." + host}
		if host == "github.com" {
			found.Issuer = "https://token.actions.githubusercontent.com"
		}
		return found
	default:
		return GitHub{Web: web, API: web + "/api/v3", GraphQL: web + "/api/graphql", Issuer: web + "/_services/token"}
	}
}

// people writes a duration without the zeros that nobody says: 2h, not 2h0m0s.
func people(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
