// Files by the thread pool of node, in promises that overlap.
const { mkdir, mkdtemp, writeFile, readFile, rename, rm, readdir, copyFile, symlink, link, open, appendFile, truncate } = require("fs/promises");
const { execFile } = require("child_process");

async function work(i) {
  const dir = await mkdtemp("work-");
  for (let n = 0; n < 10; n++) {
    const name = `${dir}/${n}`;
    await writeFile(name, name);
    await Promise.all([readFile(name), copyFile(name, name + ".copy"), link(name, name + ".link"), symlink(`${n}`, name + ".soft")]);
    await rename(name + ".copy", name + ".moved");
    await Promise.all([appendFile("log", name), readFile(name + ".soft"), truncate(name + ".link", 1)]);
    const f = await open(name, "r+");
    await f.close();
  }
  await mkdir(`${dir}/a/b/c`, { recursive: true });
  await readdir(dir);
  await new Promise((done) => execFile("true", done));
  await rm(dir, { recursive: true });
}

Promise.all(Array.from({ length: 6 }, (_, i) => work(i)));
