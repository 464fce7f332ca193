package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/traefik/paerser/file"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/plugins"
	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/e2e/jsonschema"
)

func TestJSONSchemaIsThatOfTheSource(t *testing.T) {
	root := filepath.Dir(examples(t))
	want, err := jsonschema.Generate(root)
	if err != nil {
		t.Fatal(err)
	}
	if got := readReplaced(t, filepath.Join(root, jsonschema.File)); got != string(want) {
		t.Errorf("%s is not what the source defines: run make schema", jsonschema.File)
	}
}

// jsonSchemas compiles the published JSON Schema: that of documents, and that of a configuration.
func jsonSchemas(t *testing.T) (document, config *validator.Schema) {
	t.Helper()
	compiler := validator.NewCompiler()
	if err := compiler.AddResource(jsonschema.ID, decodeJSON(t, readReplaced(t, filepath.Join(filepath.Dir(examples(t)), jsonschema.File)))); err != nil {
		t.Fatal(err)
	}
	document, err := compiler.Compile(jsonschema.ID)
	if err != nil {
		t.Fatal(err)
	}
	config, err = compiler.Compile(jsonschema.Config)
	if err != nil {
		t.Fatal(err)
	}
	return document, config
}

func decodeJSON(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// pluginBlock matches where a document has the configuration of the plugin.
var pluginBlock = regexp.MustCompile(`(?m)^( *plugin:\n +)?chat-completion:|\bplugin:\n +chat-completion:`)

// yamlDocuments returns the documents of YAML with a configuration of the plugin that the
// repository contains, by name.
func yamlDocuments(t *testing.T) map[string]string {
	t.Helper()
	all := yamlBlocks(t)
	err := filepath.WalkDir(examples(t), func(path string, entry fs.DirEntry, err error) error {
		if extension := filepath.Ext(path); err == nil && !entry.IsDir() && (extension == ".yml" || extension == ".yaml") {
			all[filepath.Base(filepath.Dir(path))+"/"+entry.Name()] = readReplaced(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for name, content := range all {
		if strings.HasPrefix(content, "experimental:") || strings.Contains(content, "\nexperimental:") {
			continue // static configuration
		}
		for i, document := range strings.Split(content, "\n---\n") {
			if pluginBlock.MatchString(document) {
				found[fmt.Sprintf("%s %d", name, i)] = document
			}
		}
	}
	return found
}

// TestDocumentsMatchTheJSONSchema validates every configuration in the repository, and the same
// with a key that does not exist.
func TestDocumentsMatchTheJSONSchema(t *testing.T) {
	document, config := jsonSchemas(t)
	all := yamlDocuments(t)
	if least := 60; len(all) < least {
		t.Fatalf("%d documents, want at least %d", len(all), least)
	}
	for name, content := range all {
		t.Run(name, func(t *testing.T) {
			value := decodeYAML(t, content)
			schema := document
			if block, isBlock := value[gateway.PluginKey]; isBlock {
				schema, value = config, map[string]any{}
				if members, isObject := block.(map[string]any); isObject {
					value = members
				}
			}
			if err := schema.Validate(value); err != nil {
				t.Error(err)
			}
			if misspelt := misspellFirst(value, schema == config); misspelt == 0 || schema.Validate(value) == nil {
				t.Errorf("%d unknown keys, and no error", misspelt)
			}
		})
	}
	checkDecoded(t, config)
}

// decodeYAML decodes a document as the file provider does, and editors: n is a text, not false as in
// YAML 1.1.
func decodeYAML(t *testing.T, document string) map[string]any {
	t.Helper()
	var value map[string]any
	if err := yamlv3.Unmarshal([]byte(document), &value); err != nil {
		t.Fatal(err)
	}
	members, isObject := asJSONValue(t, value).(map[string]any)
	if !isObject {
		t.Fatalf("the document is a %T", value)
	}
	return members
}

// misspellFirst adds an unknown key to each configuration of the plugin in a value, and returns
// their number.
func misspellFirst(value any, isConfig bool) int {
	members, isObject := value.(map[string]any)
	if !isObject {
		return 0
	}
	if isConfig {
		members["tokens"] = "x"
		return 1
	}
	count := 0
	for name, member := range members {
		count += misspellFirst(member, name == gateway.PluginKey)
	}
	return count
}

// checkDecoded validates what Traefik decodes from labels and, with every scalar as text, from
// files, and the configuration for the plugin catalog.
func checkDecoded(t *testing.T, config *validator.Schema) {
	t.Helper()
	var project composeProject
	if err := yaml.Unmarshal([]byte(readReplaced(t, filepath.Join(examples(t), "docker-compose", "docker-compose.yml"))), &project); err != nil {
		t.Fatal(err)
	}
	decoded := map[string]map[string]any{"labels": fromLabels(t, asLabels), "forwarding labels": fromLabels(t, strings.ReplaceAll(forwardedAsLabels, "PORT", "1"))}
	var manifest struct{ TestData map[string]any }
	if err := yaml.Unmarshal([]byte(readReplaced(t, filepath.Join(filepath.Dir(examples(t)), ".traefik.yml"))), &manifest); err != nil {
		t.Fatal(err)
	}
	decoded["the plugin catalog"] = manifest.TestData
	add := func(source string, configuration *dynamic.Configuration) {
		if configuration.HTTP == nil {
			return
		}
		for name, middleware := range configuration.HTTP.Middlewares {
			if plugin, isPlugin := middleware.Plugin[gateway.PluginKey]; isPlugin {
				decoded[source+" "+name] = plugin
			}
		}
	}
	for name, service := range project.Services {
		add(name, decodeLabels(t, service.Labels, ""))
	}
	for name, document := range yamlDocuments(t) {
		var configuration dynamic.Configuration
		if !strings.Contains(document, "\nhttp:") && !strings.HasPrefix(document, "http:") {
			continue
		}
		if err := file.DecodeContent(document, ".yaml", &configuration); err != nil {
			t.Fatal(err)
		}
		add(name, &configuration)
	}
	if least := 20; len(decoded) < least {
		t.Errorf("%d decoded configurations, want at least %d", len(decoded), least)
	}
	for name, configuration := range decoded {
		if err := config.Validate(asJSONValue(t, configuration)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// asJSONValue returns a value as JSON decodes it.
func asJSONValue(t *testing.T, value any) any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return decodeJSON(t, string(text))
}

// judge compares what the plugin and its JSON Schema make of configurations.
type judge struct {
	builder *plugins.Builder
	config  *validator.Schema
	used    map[string]bool // reasons
	last    string          // the reason why the last configuration was refused by the plugin alone; empty: it was not
}

// load returns the error of the plugin for a configuration that Traefik decodes.
func (j *judge) load(config map[string]any) error {
	build, err := j.builder.Build("plugin", config, "judged@file")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err = build(ctx, http.NotFoundHandler())
	return err
}

// beyondJSONSchema are the problems, as parts of the plugin's errors, that the JSON Schema does not
// know, with the reasons.
var beyondJSONSchema = []struct{ reason, problems string }{
	{"it depends on other keys", `(?:has|have) no effect|requires a model|requires "modelPattern"|requires "redis"|modelPattern has no group|require "host"|two spellings of one parameter|above its limit|does not match allowedModels|itself an alias|is set by params or limits|must be set, since|must be set, or "builtin"|only serves (?:metrics|the dashboard)|carries the model|would publish credentials|must be set with|require "token"|must be an amount in USD|is set by "consumers"|cannot be used with a rule|must be set, such as|quotas\[0\]\.window: must be .* got ""|must not be false beside|cannot be set with`},
	{"it depends on other names", `duplicate header name|is another spelling|the same name in Prometheus|mean the same paths|unknown group|is also a (?:name|key)|is also the (?:name|key) of|is also a key of|has no price`},
	{"it depends on the environment", `cannot be read|can be read|no PEM certificate|a PEM certificate and its key|urn:k8s:secret|environment variable`},
	{"a name has a syntax, or a meaning", `invalid label name|is reserved|invalid header name|routes\.|cache\.routes: must be|roles: must be|params\.extra\.|invalid model name`},
	{"a text has a syntax", `must be one character|must be a path|must not contain|must be a host name|invalid namespace|invalid parameter name|cannot be dropped|must be UTF-8|carries credentials|must not be empty|urn:|must be a name of at most|must be the name of a model|must be a time|must be set, to the SHA-256|must be sha256:|host:port|no spaces|unknown reference`},
	{"a text, or what it refers to, is JSON", `consumers\.from: |prices\.from: `},
	{"a member has a name that the plugin does not know", `serviceTiers`},
	{textOutOfBounds, `must be an integer from|must be a number from|below|above`},
	{"a duration is outside its bounds", `must be a duration from|or a duration from|must not be 0`},
}

// textOutOfBounds applies to texts only: the JSON Schema knows the bounds of numbers.
const textOutOfBounds = "a text holds a number outside its bounds"

// byNameOrType matches the problems that the JSON Schema has to know.
var byNameOrType = regexp.MustCompile(`unknown key|duplicate key|expected a map|expected type|unconvertible|must be true or false|must be a number, got|must be "|unknown provider`)

// Reasons why the JSON Schema refuses what the plugin accepts.
const (
	otherSpelling = "the plugin ignores case and white space; editors propose the documented spelling"
	otherText     = "Traefik's file provider writes the boolean or the fraction as text in another way than its other providers"
	otherShape    = "Traefik's decoder takes one element for a list, merges lists to maps, and takes an empty text for an empty list"
	noElement     = "an element without a value is an error of Traefik's file provider, or is dropped by it"
	otherNumber   = "an integer in a text is written without a fraction and an exponent"
)

// spelledOtherwise are the cases that the JSON Schema refuses for their spelling.
var spelledOtherwise = []string{
	"endpoints/governed_passthrough_in_capitals", "parameters/params_keys_without_regard_to_case",
	"providers/preset_in_capitals", "report/report_as_label", "telemetry/expose_text",
}

// check compares the decisions about a configuration, and reports whether both accept it. stricter
// is the reason why the JSON Schema may refuse what the plugin accepts, or empty.
func (j *judge) check(t *testing.T, config map[string]any, stricter string) bool {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	refused, invalid := j.load(config), j.config.Validate(config)
	j.last = ""
	switch {
	case refused == nil && invalid != nil && stricter == "":
		t.Errorf("%s: the plugin accepts it, but %v", text, invalid)
	case refused == nil && invalid != nil:
		j.used[stricter] = true
	case refused != nil && invalid == nil:
		for _, known := range beyondJSONSchema {
			if regexp.MustCompile(known.problems).MatchString(refused.Error()) {
				j.last = known.reason
				break
			}
		}
		if j.used[j.last] = true; j.last == "" || byNameOrType.MatchString(refused.Error()) {
			t.Errorf("%s: the JSON Schema accepts it, but %v", text, refused)
		}
	}
	return refused == nil && invalid == nil
}

// TestJSONSchemaDecidesAsThePluginDoes compares the decisions about the configurations of all
// cases, about each key with many values, and about each key misspelt.
func TestJSONSchemaDecidesAsThePluginDoes(t *testing.T) {
	cases := loadCases(t)
	_, config := jsonSchemas(t)
	keys := configurationKeys(t)
	j := &judge{builder: loadThisPlugin(t), config: config, used: map[string]bool{}} // changes the working directory
	for _, c := range cases {
		stricter := ""
		if slices.Contains(spelledOtherwise, c.Name) {
			stricter = otherSpelling
		}
		t.Run(c.Name, func(t *testing.T) {
			j.check(t, c.Config, stricter)
			if c.Then != nil {
				j.check(t, c.Then, "")
			}
		})
	}
	for _, k := range keys {
		t.Run(k.path, func(t *testing.T) { j.checkKey(t, k) })
	}
	for _, known := range beyondJSONSchema {
		if !j.used[known.reason] {
			t.Errorf("nothing is refused by the plugin alone because %s", known.reason)
		}
	}
	for _, reason := range []string{otherSpelling, otherText, otherShape, noElement, otherNumber} {
		if !j.used[reason] {
			t.Errorf("nothing is refused by the JSON Schema alone because %s", reason)
		}
	}
}

// configurationKey is a key of the configuration: params.temperature, fallbacks[].host, or routes.*
// for the names in a map.
type configurationKey struct {
	path   string
	schema map[string]any
}

// configurationKeys returns all keys that the JSON Schema has.
func configurationKeys(t *testing.T) []configurationKey {
	t.Helper()
	whole, _ := decodeJSON(t, readReplaced(t, filepath.Join(filepath.Dir(examples(t)), jsonschema.File))).(map[string]any)
	definitions, _ := whole["$defs"].(map[string]any)
	var keys []configurationKey
	var visit func(path string, schema map[string]any)
	visit = func(path string, schema map[string]any) {
		if reference, isReference := schema["$ref"].(string); isReference {
			schema, _ = definitions[strings.TrimPrefix(reference, "#/$defs/")].(map[string]any)
		}
		if path != "" && !strings.HasSuffix(path, "[]") {
			keys = append(keys, configurationKey{path, schema})
		}
		properties, _ := schema["properties"].(map[string]any)
		for name, property := range properties {
			if property, isSchema := property.(map[string]any); isSchema {
				visit(strings.TrimPrefix(path+"."+name, "."), property)
			}
		}
		if values, isMap := schema["additionalProperties"].(map[string]any); isMap {
			visit(path+".*", values)
		}
		if items, isList := schema["items"].(map[string]any); isList && items["$ref"] != nil {
			visit(path+"[]", items)
		}
	}
	visit("", map[string]any{"$ref": "#/$defs/Config"})
	if least := 80; len(keys) < least {
		t.Fatalf("%d keys, want at least %d", len(keys), least)
	}
	return keys
}

// contexts are what the keys need beside them, by the beginning of their path. The longest one
// applies.
var contexts = map[string]string{
	"":                                      `{}`,
	"allowModelOverride":                    `{"model": "gpt-4o"}`,
	"consumers":                             `{"token": "text", "consumers": {"list": [{"name": "one", "key": "` + someDigest + `"}]}}`,
	"consumers.groups.*.allowModelOverride": `{"consumers": {"groups": {"name": {"model": "gpt-4o"}}}}`,
	"consumers.groups.*.quotas":             `{"prices": {"models": {"*": {"input": 1}}}, "consumers": {"groups": {"name": {"quotas": [{"name": "one", "unit": "cost", "limit": "1", "window": "1M"}]}}}}`,
	"consumers.groups.*.quotas[].reserve":   `{"consumers": {"groups": {"name": {"quotas": [{"name": "one", "unit": "tokens", "limit": 1, "window": "1M"}]}}}}`,
	"consumers.header":                      `{}`,
	"consumers.list":                        `{"token": "text", "consumers": {"list": [{"name": "one", "key": "` + someDigest + `", "previousKey": {"key": "` + otherDigest + `", "until": "2027-01-01T00:00:00Z"}}]}}`,
	"fallbacks":                             `{"host": "one", "fallbacks": [{"host": "two"}]}`,
	"guard.onBlock":                         `{"guard": {"request": {"rules": [{"name": "one", "builtin": "email", "action": "block"}]}}}`,
	"guard.request":                         `{"guard": {"request": {"rules": [{"name": "one", "builtin": "email", "action": "block"}]}}}`,
	"guard.request.rules[].builtin":         `{"guard": {"request": {"rules": [{"name": "one", "action": "block"}]}}}`,
	"guard.request.rules[].pattern":         `{"guard": {"request": {"rules": [{"name": "one", "action": "block"}]}}}`,
	"guard.request.rules[].mask":            `{"guard": {"request": {"rules": [{"name": "one", "builtin": "email", "action": "mask"}]}}}`,
	"guard.response":                        `{"guard": {"response": {"rules": [{"name": "one", "builtin": "email", "action": "block"}]}}}`,
	"guard.response.overlap":                `{"guard": {"response": {"window": 65536, "rules": [{"name": "one", "builtin": "email", "action": "block"}]}}}`,
	"guard.response.maxHold":                `{"guard": {"response": {"window": 64, "rules": [{"name": "one", "builtin": "email", "action": "block"}]}}}`,
	"guard.response.rules[].builtin":        `{"guard": {"response": {"rules": [{"name": "one", "action": "block"}]}}}`,
	"guard.response.rules[].pattern":        `{"guard": {"response": {"rules": [{"name": "one", "action": "block"}]}}}`,
	"guard.response.rules[].mask":           `{"guard": {"response": {"rules": [{"name": "one", "builtin": "email", "action": "mask"}]}}}`,
	"modelPattern":                          `{"path": "/$(uri_captures.model)"}`,
	"port":                                  `{"host": "one"}`,
	"prices.models.*.tiers":                 `{"prices": {"models": {"name": {"input": 1, "output": 1, "tiers": [{"over": 1, "input": 1}]}}}}`,
	"prices.models.*.serviceTiers":          `{"prices": {"models": {"name": {"input": 1}}}}`,
	"prompt.system.mode":                    `{"prompt": {"system": {"text": "text"}}}`,
	"prices.trustReported":                  `{"prices": {"models": {"*": {"input": 1}}}}`,
	"quotas":                                `{"prices": {"models": {"*": {"input": 1}}}, "quotas": [{"name": "one", "unit": "cost", "limit": "1", "window": "1M"}]}`,
	"redis":                                 `{"quotas": [{"name": "one", "unit": "requests", "limit": 1, "window": "1M"}]}`,
	"redis.username":                        `{"quotas": [{"name": "one", "unit": "requests", "limit": 1, "window": "1M"}], "redis": {"password": "text"}}`,
	"redis.tls.cert":                        `{"quotas": [{"name": "one", "unit": "requests", "limit": 1, "window": "1M"}], "redis": {"tls": {}}}`,
	"redis.tls.key":                         `{"quotas": [{"name": "one", "unit": "requests", "limit": 1, "window": "1M"}], "redis": {"tls": {}}}`,
	"secrets.caFile":                        `{"secrets": {"endpoint": "https://10.0.0.1:6443"}}`,
	"secrets.namespace":                     `{"secrets": {"endpoint": "https://10.0.0.1:6443"}}`,
	"secrets.tokenFile":                     `{"secrets": {"endpoint": "https://10.0.0.1:6443"}}`,
	"timeouts":                              `{"host": "one"}`,
	"tls":                                   `{"host": "one"}`,
}

// Digests of keys of consumers.
const (
	someDigest  = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
	otherDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000002"
)

// namesInMaps are valid names in the maps; elsewhere it is "name".
var namesInMaps = map[string]string{"routes": "/v1/name"}

// valuesOfKeys returns valid values of keys for which the general ones are not.
func valuesOfKeys(t *testing.T) map[string]any {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	authorities := filepath.Join(t.TempDir(), "ca.pem")
	write(t, authorities, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	certificate, key := keyPair(t)
	return map[string]any{
		"consumers.from":                     `[{"name": "two", "key": "` + otherDigest + `"}]`,
		"consumers.list":                     []any{map[string]any{"name": "one", "key": someDigest}},
		"consumers.list[].expires":           "2027-01-01T00:00:00Z",
		"consumers.list[].key":               "sha256:" + strings.Repeat("0A", 32),
		"consumers.list[].previousKey.key":   "sha256:" + strings.Repeat("0a", 32),
		"consumers.list[].previousKey.until": "2027-01-01T00:00:00+01:00",
		"consumers.groups.*.quotas":          []any{map[string]any{"name": "one", "unit": "requests", "limit": 1, "window": "1m"}},
		"fallbacks":                          []any{map[string]any{"host": "two"}},
		"fallbacks[].tls.caFile":             authorities,
		"modelPattern":                       "/(?<model>.*)",
		"prices.from":                        `{"models": {"gpt-4o": {"input": "2.50"}}}`,
		"prices.models":                      map[string]any{"*": map[string]any{"input": "2.50"}},
		"prices.models.*":                    map[string]any{"input": "2.50"},
		"prices.models.*.serviceTiers":       map[string]any{"flex": "0.5"},
		"prices.models.*.tiers":              []any{map[string]any{"over": 200000, "input": "5"}},
		"quotas":                             []any{map[string]any{"name": "one", "unit": "requests", "limit": 1, "window": "1m"}},
		"redis.endpoints":                    []any{"redis:6379"},
		"redis.tls.ca":                       authorities,
		"redis.tls.cert":                     certificate,
		"redis.tls.key":                      key,
		"tls.caFile":                         authorities,
	}
}

// aKeyPair is a self-signed certificate and its key as PEM, made on first use.
var aKeyPair = sync.OnceValues(func() ([]string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return []string{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}, nil
})

// keyPair returns a certificate and its key as PEM.
func keyPair(t *testing.T) (certificate, key string) {
	t.Helper()
	pair, err := aKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	return pair[0], pair[1]
}

// with returns the context of a key with a value for it. TLS of Redis has a certificate and its key,
// which need each other.
func (k configurationKey) with(t *testing.T, value any) map[string]any {
	t.Helper()
	context := ""
	for beginning := range contexts {
		if strings.HasPrefix(k.path, beginning) && len(beginning) > len(context) {
			context = beginning
		}
	}
	config, _ := decodeJSON(t, contexts[context]).(map[string]any)
	if redis, isObject := config["redis"].(map[string]any); isObject && redis["tls"] != nil {
		certificate, key := keyPair(t)
		redis["tls"] = map[string]any{"cert": certificate, "key": key}
	}
	parent, names := config, strings.Split(k.path, ".")
	for i, name := range names {
		if name == "*" {
			if names[i] = namesInMaps[names[i-1]]; names[i] == "" {
				names[i] = "name"
			}
		}
	}
	for _, name := range names[:len(names)-1] {
		list, isList := strings.CutSuffix(name, "[]")
		if !isList {
			if parent[name] == nil {
				parent[name] = map[string]any{}
			}
			parent, _ = parent[name].(map[string]any)
			continue
		}
		if parent[list] == nil {
			parent[list] = []any{map[string]any{}}
		}
		elements, _ := parent[list].([]any)
		parent, _ = elements[0].(map[string]any)
	}
	parent[names[len(names)-1]] = value
	return config
}

// generalValues are values of all types of JSON, and texts that hold others.
const generalValues = `[null, true, false, 0, 1, 3, -1, 0.5, 1.5, 1e3, 12345678901,
	"", "text", "true", "FALSE", " true ", "yes", "0", "1", " 3 ", "-1", "0.5", "1.5", "1e3", "1.0", "0x10", ".5", "Inf", "1,2", "text,text",
	"5s", "1m30s", "5", "5 s", "48h", "9000h", "/text", "text/text", "http://127.0.0.1:1", "ftp://127.0.0.1", "urn:x",
	[], [null], [true], [1], [0.5], ["text"], ["text", 1], [[]], [{}], {}, {"unknown": "text"}, {"unknown": null}, {"": {}}]`

// probes returns values to try at a key.
func (k configurationKey) probes(t *testing.T) []any {
	t.Helper()
	probes, _ := decodeJSON(t, generalValues).([]any)
	step := 0.001
	if types, _ := k.schema["type"].([]any); slices.Contains(types, any("integer")) {
		step = 1
	}
	for bound, outwards := range map[string]float64{"minimum": -step, "maximum": step} {
		if number, has := k.schema[bound].(float64); has {
			for _, value := range []float64{number, number + outwards, number - outwards} {
				probes = append(probes, value, strconv.FormatFloat(value, 'f', -1, 64))
			}
		}
	}
	return append(probes, k.enumeration()...)
}

// enumeration returns the values of an enumeration.
func (k configurationKey) enumeration() []any {
	alternatives, _ := k.schema["anyOf"].([]any)
	for _, alternative := range alternatives {
		alternative, _ := alternative.(map[string]any)
		if enumerated, has := alternative["enum"].([]any); has {
			return enumerated
		}
	}
	return nil
}

// stricter returns the reason why the JSON Schema may refuse a value that the plugin accepts.
func (k configurationKey) stricter(value any) string {
	types, _ := k.schema["type"].([]any)
	isText := slices.Contains(types, any("string")) && !slices.Contains(types, any("number")) && k.schema["pattern"] == nil
	switch value := value.(type) {
	case nil:
		return noElement
	case bool, float64:
		if isText || strings.HasSuffix(k.path, "Timeout") { // of Redis: a text, and a number of seconds in it
			return otherText
		}
		if slices.Contains(types, any("array")) {
			return otherShape
		}
	case []any:
		if slices.Contains(types, any("object")) {
			return otherShape
		}
		if len(value) > 0 && value[0] == nil {
			return noElement
		}
		return otherText
	case map[string]any:
		if slices.Contains(types, any("array")) {
			return otherShape
		}
		return noElement
	case string:
		if value == "" && slices.Contains(types, any("array")) {
			return otherShape
		}
		if slices.Contains(types, any("integer")) {
			return otherNumber
		}
	}
	return ""
}

// checkKey compares the decisions about a key with many values, and misspelt.
func (j *judge) checkKey(t *testing.T, k configurationKey) {
	t.Helper()
	var accepted any
	refused := 0
	probes := k.probes(t)
	if value, has := valuesOfKeys(t)[k.path]; has {
		probes = append(probes, value)
	}
	for _, value := range probes {
		switch {
		case !j.check(t, k.with(t, value), k.stricter(value)):
			refused++
		case value != nil && value != "":
			accepted = value
		}
		if _, isNumber := value.(float64); isNumber && j.last == textOutOfBounds {
			t.Errorf("the JSON Schema accepts the number %v, but the plugin does not", value)
		}
	}
	if accepted == nil || refused == 0 {
		t.Errorf("accepted: %v, refused: %d of %d values, want one of each; is there a valid value in valuesOfKeys, with what it needs in contexts?", accepted, refused, len(probes))
	}
	parent, name, _ := cutLast(k.path)
	if name == "*" {
		return
	}
	for _, misspelt := range []string{name + "s", name[1:] + "x", "x" + name} {
		wrong := configurationKey{strings.TrimPrefix(parent+"."+misspelt, "."), nil}
		config := wrong.with(t, accepted)
		if err := j.load(config); err == nil || !strings.Contains(err.Error(), "unknown key") {
			t.Errorf("%s: error %v, want an unknown key", wrong.path, err)
		}
		if j.config.Validate(config) == nil {
			t.Errorf("%s: the JSON Schema accepts it", wrong.path)
		}
	}
}

// cutLast cuts the last name off a path.
func cutLast(path string) (parent, name string, found bool) {
	dot := strings.LastIndex(path, ".")
	if dot < 0 {
		return "", path, false
	}
	return path[:dot], path[dot+1:], true
}
