// Lints manifests of Argo Workflows with the code behind `argo lint --offline`.
//
// The files are read as one set, so that their references to one another resolve. Argo's own lint
// skips what it cannot parse and kinds that it does not know, without a word; this program counts
// every YAML document of every file and fails unless each of them was linted. It prints one JSON
// object: {"documents": 3, "linted": 3, "errors": ["FILE: in \"NAME\" (KIND): …"]}.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/argoproj/argo-workflows/v4/cmd/argo/lint"
	"github.com/argoproj/argo-workflows/v4/pkg/apiclient"
	"github.com/argoproj/argo-workflows/v4/util/logging"
	"github.com/argoproj/argo-workflows/v4/workflow/common"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const namespace = "default" // for manifests that name none

type report struct {
	Documents int      `json:"documents"`
	Linted    int      `json:"linted"`
	Errors    []string `json:"errors"`
}

// kinds that Argo's lint looks at.
var kinds = map[string]bool{
	"Workflow": true, "WorkflowTemplate": true, "CronWorkflow": true, "ClusterWorkflowTemplate": true,
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: argo-lint FILE...")
		os.Exit(2)
	}
	ctx := logging.WithLogger(context.Background(), logging.NewSlogLogger(logging.Error, logging.Text))
	found := report{Errors: []string{}}
	for _, file := range os.Args[1:] {
		if err := found.count(ctx, file); err != nil {
			found.Errors = append(found.Errors, fmt.Sprintf("%s: %v", file, err))
		}
	}
	// Argo gives up the whole call on some documents: they are in the report already.
	if len(found.Errors) == 0 {
		if err := found.lint(ctx, os.Args[1:]); err != nil {
			found.Errors = append(found.Errors, err.Error())
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(found)
	if len(found.Errors) > 0 || found.Documents == 0 || found.Linted != found.Documents {
		os.Exit(1)
	}
}

// count adds the documents of a file, and those of them that the lint will look at.
func (r *report) count(ctx context.Context, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var content map[string]any
		if err := yaml.Unmarshal(document, &content); err != nil {
			r.Documents++
			return err
		}
		if len(content) == 0 {
			continue // comments alone
		}
		r.Documents++
		kind, _ := content["kind"].(string)
		if !kinds[kind] {
			return fmt.Errorf("document %d is of kind %q, which is not linted", r.Documents, kind)
		}
		for _, parsed := range common.ParseObjects(ctx, document, true) {
			if parsed.Object == nil {
				return fmt.Errorf("document %d cannot be parsed: %w", r.Documents, parsed.Err)
			}
			r.Linted++
		}
	}
}

func (r *report) lint(ctx context.Context, files []string) error {
	opts := apiclient.Opts{Offline: true, OfflineFiles: files}
	ctx, client, err := apiclient.NewClientFromOptsWithContext(ctx, opts)
	if err != nil {
		return err
	}
	templates, err := client.NewWorkflowTemplateServiceClient()
	if err != nil {
		return err
	}
	schedules, err := client.NewCronWorkflowServiceClient()
	if err != nil {
		return err
	}
	shared, err := client.NewClusterWorkflowTemplateServiceClient()
	if err != nil {
		return err
	}
	results, err := lint.Lint(ctx, &lint.LintOptions{
		Files:            files,
		Strict:           true,
		DefaultNamespace: namespace,
		ServiceClients: lint.ServiceClients{
			WorkflowsClient:               client.NewWorkflowServiceClient(ctx),
			WorkflowTemplatesClient:       templates,
			CronWorkflowsClient:           schedules,
			ClusterWorkflowTemplateClient: shared,
		},
	})
	if err != nil {
		return err
	}
	for _, result := range results.Results {
		if !result.Linted {
			r.Errors = append(r.Errors, result.File+": nothing was linted")
		}
		for _, each := range result.Errs {
			r.Errors = append(r.Errors, fmt.Sprintf("%s: %v", result.File, each))
		}
	}
	return nil
}
