package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	artifactLife    = 90 * 24 * time.Hour
	uploadLife      = time.Hour
	maxArtifact     = 256 << 20
	artifactService = "twirp/github.actions.results.api.v1.ArtifactService/"
)

// artifact is one artifact of a run. Uploaded are the blocks that its blob is put together from.
type artifact struct {
	id        int64
	run       *run
	name      string
	content   []byte
	blocks    map[string][]byte
	blob      string // secret part of the address that it is uploaded to
	finalized bool
	created   time.Time
}

func (a *artifact) digest() string {
	sum := sha256.Sum256(a.content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// addArtifact adds a finished artifact. The caller holds mu.
func (s *Sandbox) addArtifact(run *run, name string, content []byte) {
	run.repository.actions.artifacts = append(run.repository.actions.artifacts, &artifact{
		id: s.nextID(), run: run, name: name, content: content, finalized: true, created: s.now(),
	})
}

// listRunArtifacts lists those of a run, or of the repository, newest first.
// https://docs.github.com/en/rest/actions/artifacts
func listRunArtifacts(c *call) reply {
	s, r := c.sandbox, c.repository
	name := c.request.URL.Query().Get("name")
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.params["run_id"] != "" && c.run() == nil {
		return notFound()
	}
	var found []*artifact
	for _, a := range slices.Backward(r.actions.artifacts) {
		if a.finalized && (c.params["run_id"] == "" || a.run == c.run()) && (name == "" || a.name == name) {
			found = append(found, a)
		}
	}
	return counted(c, "artifacts", found, s.artifactObject)
}

// artifact finds the one that the path names. The caller holds mu.
func (c *call) artifact() *artifact {
	for _, a := range c.repository.actions.artifacts {
		if a.id == c.id("artifact_id") && a.finalized {
			return a
		}
	}
	return nil
}

func getArtifact(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	a := c.artifact()
	if a == nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: s.artifactObject(a)}
}

func downloadArtifact(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	a := c.artifact()
	if a == nil || c.params["archive_format"] != "zip" {
		return notFound()
	}
	return s.redirect(a.content, "application/zip")
}

// resultsRequest is what all calls of the service have in common; Twirp takes both spellings of each name.
// https://github.com/actions/toolkit/tree/main/packages/artifact/src/generated
type resultsRequest struct {
	Run, Job, Name, Filter string
	Size                   string
}

func readResults(body []byte) (resultsRequest, error) {
	var raw map[string]any
	if err := json.Unmarshal(body, &raw); err != nil {
		return resultsRequest{}, err //nolint:wrapcheck // only whether it is JSON matters
	}
	get := func(names ...string) string {
		for _, name := range names {
			switch v := raw[name].(type) {
			case string:
				return v
			case float64:
				return strconv.FormatFloat(v, 'f', 0, 64)
			case map[string]any: // a wrapped value
				return Text(v["value"])
			}
		}
		return ""
	}
	return resultsRequest{
		Run: get("workflow_run_backend_id", "workflowRunBackendId"), Job: get("workflow_job_run_backend_id", "workflowJobRunBackendId"),
		Name: get("name"), Filter: get("name_filter", "nameFilter"), Size: get("size"),
	}, nil
}

// twirpError is an error as Twirp sends it.
func twirpError(w http.ResponseWriter, status int, code, words string) {
	raw, _ := json.Marshal(object{"code": code, "msg": words}) //nolint:errchkjson // two texts
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(raw) // when the caller is gone there is nobody to tell
}

// serveResults is the service that version 4 of GitHub's artifacts are uploaded to from within a job.
func (s *Sandbox) serveResults(w http.ResponseWriter, r *http.Request, method string) {
	if r.Method != http.MethodPost {
		answer := s.refuseUnserved(r)
		answer.write(w)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAPIRequest))
	if err != nil {
		twirpError(w, http.StatusBadRequest, "malformed", "the request cannot be read")
		return
	}
	asked, err := readResults(body)
	if err != nil {
		twirpError(w, http.StatusBadRequest, "malformed", "the request is not JSON")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobOf(r)
	if j == nil {
		twirpError(w, http.StatusUnauthorized, "unauthenticated", "the runtime token is not valid")
		return
	}
	if run, job := j.backendIDs(); asked.Run != run || asked.Job != job {
		twirpError(w, http.StatusForbidden, "permission_denied", "the token is of another job")
		return
	}
	switch method {
	case "CreateArtifact":
		s.createArtifact(w, j, asked)
	case "FinalizeArtifact":
		s.finalizeArtifact(w, j, asked)
	case "ListArtifacts":
		s.listArtifacts(w, j, asked)
	case "GetSignedArtifactURL":
		s.signArtifact(w, j, asked)
	default:
		answer := s.refuseUnserved(r)
		answer.write(w)
	}
}

// named finds an artifact of the run. The caller holds mu.
func (run *run) named(name string) *artifact {
	for _, a := range run.repository.actions.artifacts {
		if a.run == run && a.name == name {
			return a
		}
	}
	return nil
}

func (s *Sandbox) createArtifact(w http.ResponseWriter, j *job, asked resultsRequest) {
	switch {
	case asked.Name == "" || strings.ContainsAny(asked.Name, "\"/:<>|*?\r\n\\"):
		twirpError(w, http.StatusBadRequest, "invalid_argument", "the name of the artifact is not valid")
		return
	case j.run.named(asked.Name) != nil:
		twirpError(w, http.StatusConflict, "already_exists", "an artifact with this name already exists on the workflow run")
		return
	}
	a := &artifact{
		id: s.nextID(), run: j.run, name: asked.Name, blob: randomHex(), blocks: map[string][]byte{}, created: s.now(),
	}
	j.run.repository.actions.artifacts = append(j.run.repository.actions.artifacts, a)
	s.blobs[a.blob] = a
	writeJSON(w, object{
		"ok": true, "signed_upload_url": s.url + servicesPath + "blobs/" + strconv.FormatInt(a.id, 10) + "?sig=" + a.blob,
	})
}

func (s *Sandbox) finalizeArtifact(w http.ResponseWriter, j *job, asked resultsRequest) {
	a := j.run.named(asked.Name)
	switch {
	case a == nil || a.finalized:
		twirpError(w, http.StatusNotFound, "not_found", "there is no such upload")
		return
	case asked.Size != strconv.Itoa(len(a.content)):
		twirpError(w, http.StatusBadRequest, "invalid_argument", "the size is not that of what was uploaded")
		return
	}
	a.finalized, a.created = true, s.now()
	delete(s.blobs, a.blob)
	s.change()
	writeJSON(w, object{"ok": true, "artifact_id": strconv.FormatInt(a.id, 10)})
}

func (s *Sandbox) listArtifacts(w http.ResponseWriter, j *job, asked resultsRequest) {
	run, job := j.backendIDs()
	found := []object{}
	for _, a := range j.run.repository.actions.artifacts {
		if a.run != j.run || !a.finalized || asked.Filter != "" && a.name != asked.Filter {
			continue
		}
		found = append(found, object{
			"workflow_run_backend_id": run, "workflow_job_run_backend_id": job, "database_id": strconv.FormatInt(a.id, 10),
			"name": a.name, "size": strconv.Itoa(len(a.content)), "created_at": stamp(a.created), "digest": a.digest(),
		})
	}
	writeJSON(w, object{"artifacts": found})
}

func (s *Sandbox) signArtifact(w http.ResponseWriter, j *job, asked resultsRequest) {
	a := j.run.named(asked.Name)
	if a == nil || !a.finalized {
		twirpError(w, http.StatusNotFound, "not_found", "there is no such artifact")
		return
	}
	writeJSON(w, object{"signed_url": s.offer(a.content, "application/zip")})
}

// serveBlob takes an upload the way Azure's storage does: as one blob, or as blocks and then their list.
// https://learn.microsoft.com/en-us/rest/api/storageservices/put-block-list
func (s *Sandbox) serveBlob(w http.ResponseWriter, r *http.Request, _ string) {
	query := r.URL.Query()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxArtifact))
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.blobs[query.Get("sig")]
	switch {
	case err != nil:
		http.Error(w, "RequestBodyTooLarge", http.StatusRequestEntityTooLarge)
		return
	case a == nil || !s.now().Before(a.created.Add(uploadLife)):
		http.Error(w, "AuthenticationFailed", http.StatusForbidden)
		return
	case r.Method != http.MethodPut:
		http.Error(w, "UnsupportedHttpVerb", http.StatusMethodNotAllowed)
		return
	}
	switch query.Get("comp") {
	case "":
		if r.Header.Get("X-Ms-Blob-Type") != "BlockBlob" {
			http.Error(w, "MissingRequiredHeader: x-ms-blob-type", http.StatusBadRequest)
			return
		}
		a.content = body
	case "block":
		if _, err := base64.StdEncoding.DecodeString(query.Get("blockid")); err != nil || query.Get("blockid") == "" {
			http.Error(w, "InvalidQueryParameterValue: blockid", http.StatusBadRequest)
			return
		}
		a.blocks[query.Get("blockid")] = body
	case "blocklist":
		if !a.commit(body) {
			http.Error(w, "InvalidBlockList", http.StatusBadRequest)
			return
		}
	default:
		http.Error(w, "UnsupportedQueryParameter", http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Ms-Request-Id", newGUID())
	w.Header().Set("X-Ms-Version", "2025-01-05")
	w.Header().Set("X-Ms-Request-Server-Encrypted", "true")
	w.Header().Set("ETag", `"`+randomHex()+`"`)
	w.WriteHeader(http.StatusCreated)
}

// commit puts a blob together from its blocks.
func (a *artifact) commit(list []byte) bool {
	var blocks struct {
		XMLName xml.Name `xml:"BlockList"`
		IDs     []struct {
			ID string `xml:",chardata"`
		} `xml:",any"`
	}
	if err := xml.Unmarshal(list, &blocks); err != nil {
		return false
	}
	var content bytes.Buffer
	for _, block := range blocks.IDs {
		part, ok := a.blocks[strings.TrimSpace(block.ID)]
		if !ok {
			return false
		}
		content.Write(part)
	}
	a.content = content.Bytes()
	return true
}
