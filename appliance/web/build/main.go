// Command build bundles the web UI: TypeScript and style sheets of
// appliance/web/src become the files of appliance/web/dist, which are committed
// and embedded. It needs the modules of package.json, installed anywhere:
//
//	npm ci --prefix build/ui   (a copy of package.json and package-lock.json)
//	go run ./appliance/web/build -modules build/ui/node_modules
//
// The same sources and modules give the same bytes.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	src := flag.String("src", "appliance/web/src", "folder of the sources")
	out := flag.String("out", "appliance/web/dist", "folder to fill; what else is in it is removed")
	modules := flag.String("modules", "build/ui/node_modules", "folder of the npm modules")
	flag.Parse()
	if err := build(*src, *out, *modules); err != nil {
		fmt.Fprintln(os.Stderr, "build web UI:", err)
		os.Exit(1)
	}
}

// build fills the folder out with the bundle and the files that go with it.
func build(src, out, modules string) error {
	modules, err := filepath.Abs(modules)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(modules, "preact")); err != nil {
		return fmt.Errorf("find npm modules: %w (run .ci/generated-ui, which installs them)", err)
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	result := api.Build(api.BuildOptions{
		EntryPointsAdvanced: []api.EntryPoint{
			{InputPath: filepath.Join(src, "main.tsx"), OutputPath: "app"},
			{InputPath: filepath.Join(src, "style", "app.css"), OutputPath: "app"},
		},
		Outdir:            out,
		Bundle:            true,
		Write:             true,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		Format:            api.FormatESModule,
		Target:            api.ES2022,
		JSX:               api.JSXAutomatic,
		JSXImportSource:   "preact",
		NodePaths:         []string{modules},
		Loader:            map[string]api.Loader{".woff2": api.LoaderFile},
		AssetNames:        "[name]",
		LegalComments:     api.LegalCommentsNone,
		Charset:           api.CharsetUTF8,
		LogLevel:          api.LogLevelWarning,
	})
	if len(result.Errors) > 0 {
		return errors.New("the bundler refused the sources; its messages are above")
	}
	if err := copyFile(filepath.Join(src, "index.html"), filepath.Join(out, "index.html")); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(src, "icon.svg"), filepath.Join(out, "icon.svg")); err != nil {
		return err
	}
	return licences(modules, filepath.Join(out, "licences.txt"))
}

// licences writes the licence of each module whose code or data is in the
// bundle: both ask for that.
func licences(modules, out string) error {
	var text bytes.Buffer
	for _, name := range []string{"preact", "@fontsource-variable/inter"} {
		b, err := os.ReadFile(filepath.Join(modules, name, "LICENSE"))
		if err != nil {
			return fmt.Errorf("read licence of %s: %w", name, err)
		}
		fmt.Fprintf(&text, "%s\n\n%s\n\n", name, bytes.TrimSpace(b))
	}
	return os.WriteFile(out, bytes.TrimRight(text.Bytes(), "\n"), 0o644)
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
