package migrations

import "testing/fstest"

// Alone returns the statements of each of the shop's migrations that has no
// transaction, by version: to apply it, and to take it back.
func Alone() (up, down map[int64][]string, err error) {
	files, err := readFiles(shopFiles)
	up, down = map[int64][]string{}, map[int64][]string{}
	for _, f := range files {
		if f.noTransaction {
			up[f.version], down[f.version] = f.up, f.down
		}
	}
	return up, down, err
}

// Until returns the shop's migrations up to a version.
func Until(version int64) (fstest.MapFS, error) {
	files, err := readFiles(shopFiles)
	some := fstest.MapFS{}
	for _, f := range files {
		if f.version <= version {
			raw, err := shopFiles.ReadFile(f.name)
			if err != nil {
				return nil, err
			}
			some[f.name] = &fstest.MapFile{Data: raw}
		}
	}
	return some, err
}
