package server

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/settings"
)

// GitHub is what ForSandbox needs of a stand-in for GitHub.
type GitHub interface {
	URL() string
	APIURL() string
	GraphQLURL() string
	AppID() int64
	PrivateKey() []byte
	WebhookSecret() string
}

// ForSandbox are the options of a server on loopback that serves a stand-in for GitHub.
func ForSandbox(box GitHub, dataDir, program string, log zerolog.Logger) Options {
	s := settings.Defaults()
	s.Listen = "127.0.0.1:0"
	s.DataDir = dataDir
	s.AppID, s.PrivateKey = box.AppID(), box.PrivateKey()
	s.WebhookSecrets = [][]byte{[]byte(box.WebhookSecret())}
	s.GitHub = settings.GitHub{Web: box.URL(), API: box.APIURL(), GraphQL: box.GraphQLURL()}
	s.Writes = settings.Writes{} // the stand-in has no such limits unless a test asks for them
	s.Drain = 10 * time.Second
	return Options{Settings: s, Log: log, Program: program}
}
