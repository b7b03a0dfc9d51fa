// A stand-in for Jenkins that executes declarative pipelines on one machine, for the tests.
//
//   groovy runner.groovy BUILDS
//
// BUILDS is a JSON file with a list of builds, since a Java takes seconds to start: "jenkinsfile",
// "tag" and "branch" of the build, "params" by name, "credentials" by id (a string, or {"user",
// "password"}, or {"file"}), "real": the stages whose sh runs for real, with "log" for its output;
// the sh of the others is only reported. "fail": a command that fails. "approve": whether
// somebody presses the button of an input.
//
// Prints one JSON object a line: {"stage"}, {"skipped"}, {"input"}, {"sh", "status",
// "environment"}, {"archive"}, {"failure"}, {"refused"}, and at the end of a build {"result"}.
// Sections, directives and steps that are not below are refused: Jenkins has many more, and none
// of them is pretended here.
import groovy.json.JsonOutput
import groovy.json.JsonSlurper

class Refused extends RuntimeException {
    Refused(String message) { super(message) }
}

class Failed extends RuntimeException {
    Failed(String message) { super(message) }
}

/** A section of the pipeline: what a closure may call is what the class defines. */
abstract class Section {
    abstract String name()

    void enter(Closure body) {
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body.call()
    }

    def methodMissing(String name, arguments) {
        throw new Refused("The runner knows no '${name}' in ${this.name()}.")
    }

    def propertyMissing(String name) {
        throw new Refused("The runner knows no '${name}' in ${this.name()}.")
    }

    /** Refuse a step's named argument that is not one of these. */
    void only(Map given, String step, String... known) {
        def odd = given.keySet() - (known as Set)
        if (odd) throw new Refused("The runner knows no '${odd.join(', ')}' of ${step}.")
    }
}

class Build {
    Map settings
    Map<String, String> params = [:]
    List<Map> stages = []
    Map<String, Closure> post = [:]
    Closure environment

    void tell(Map event) {
        println JsonOutput.toJson(event)
        System.out.flush()
    }
}

class Agent extends Section {
    String name() { 'agent' }
    void label(String text) {}
}

class Options extends Section {
    String name() { 'options' }
    void disableConcurrentBuilds() {}
    void timeout(Map given) { only(given, 'timeout', 'time', 'unit') }
    Map logRotator(Map given) { only(given, 'logRotator', 'numToKeepStr'); given }
    void buildDiscarder(Map strategy) {}
}

class Parameters extends Section {
    Build build
    String name() { 'parameters' }
    void string(Map given) {
        only(given, 'string', 'name', 'defaultValue', 'description')
        build.params[given.name] = build.settings.params?.get(given.name) ?: given.defaultValue
    }
}

/** Assignments, as in `environment { A = 'x'; B = credentials('id') }`. */
class Environment extends Section {
    Build build
    Map<String, String> variables = [:]
    String name() { 'environment' }

    Map getParams() { build.params.asImmutable() }

    def credentials(String id) {
        if (!build.settings.credentials?.containsKey(id)) {
            throw new Failed("There are no credentials '${id}' in the store.")
        }
        build.settings.credentials[id]
    }

    void setProperty(String key, value) {
        if (value instanceof Map && value.containsKey('user')) {
            variables[key] = "${value.user}:${value.password}".toString()
            variables["${key}_USR".toString()] = value.user
            variables["${key}_PSW".toString()] = value.password
        } else if (value instanceof Map) {
            variables[key] = value.file
        } else {
            variables[key] = value.toString()
        }
    }

    // A section's own fields are set past setProperty.
    static Map<String, String> read(Build build, Closure body) {
        if (body == null) return [:]
        def made = new Environment()
        made.@build = build
        made.enter(body)
        made.@variables
    }
}

class When extends Section {
    Build build
    boolean holds = true
    boolean first = false
    String name() { 'when' }

    void beforeInput(boolean value) { first = value }

    void tag(String pattern) {
        def regex = pattern.split('\\*', -1).collect { java.util.regex.Pattern.quote(it) }.join('.*')
        holds &= build.settings.tag ==~ regex
    }
    void branch(String name) { holds &= build.settings.branch == name }
}

class Input extends Section {
    String text = ''
    String name() { 'input' }
    void message(String text) { this.@text = text }
    void ok(String label) {}
}

class Steps extends Section {
    Build build
    String stage
    Map<String, String> environment
    String name() { "the steps of '${stage}'" }

    void sh(String command) {
        def status = 0
        if (command == build.settings.fail) {
            status = 1
        } else if (stage in (build.settings.real ?: [])) {
            def process = new ProcessBuilder('sh', '-xe', '-c', command)
            process.environment().putAll(environment)
            process.redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.to(
                new File(build.settings.log)))
            status = process.start().waitFor()
        }
        build.tell(sh: command, status: status, environment: environment)
        if (status) throw new Failed("${command} ended with ${status}.")
    }

    void archiveArtifacts(Map given) {
        only(given, 'archiveArtifacts', 'artifacts', 'allowEmptyArchive')
        build.tell(archive: given.artifacts)
    }
}

class Stage extends Section {
    Build build
    Map made
    String name() { "stage '${made.name}'" }
    void steps(Closure body) { made.steps = body }
    void when(Closure body) { made.when = body }
    void environment(Closure body) { made.environment = body }
    void input(Closure body) { made.input = body }
}

class Stages extends Section {
    Build build
    String name() { 'stages' }
    void stage(String name, Closure body) {
        def made = [name: name]
        new Stage(build: build, made: made).enter(body)
        if (!made.steps) throw new Refused("Stage '${name}' has no steps.")
        build.stages << made
    }
}

class Post extends Section {
    Build build
    String name() { 'post' }
    void always(Closure body) { build.post.always = body }
    void failure(Closure body) { build.post.failure = body }
    void success(Closure body) { build.post.success = body }
}

class Pipeline extends Section {
    Build build
    boolean hasAgent = false
    String name() { 'pipeline' }
    void agent(Closure body) { hasAgent = true; new Agent().enter(body) }
    void options(Closure body) { new Options().enter(body) }
    void parameters(Closure body) { new Parameters(build: build).enter(body) }
    void environment(Closure body) { build.environment = body }
    void stages(Closure body) { new Stages(build: build).enter(body) }
    void post(Closure body) { new Post(build: build).enter(body) }
}

abstract class PipelineScript extends Script {
    void pipeline(Closure body) {
        def made = new Pipeline(build: binding.build)
        made.enter(body)
        if (!made.hasAgent || !binding.build.stages) {
            throw new Refused('A pipeline needs an agent and stages.')
        }
    }

    def methodMissing(String name, arguments) {
        throw new Refused("The runner knows no '${name}' beside pipeline.")
    }
}

/** Run the stages in order; return whether all went well. */
boolean perform(Build build) {
    try {
        def common = Environment.read(build, build.environment)
        for (made in build.stages) {
            build.tell(stage: made.name)
            def condition = new When(build: build)
            if (made.when) condition.enter(made.when)
            // Jenkins asks before it looks at the condition, unless it is told otherwise.
            if (made.input && (condition.holds || !condition.first)) {
                def input = new Input()
                input.enter(made.input)
                build.tell(input: input.text)
                if (!build.settings.approve) throw new Failed('Nobody pressed the button.')
            }
            if (!condition.holds) {
                build.tell(skipped: made.name)
                continue
            }
            def environment = common + Environment.read(build, made.environment)
            new Steps(build: build, stage: made.name, environment: environment).enter(made.steps)
        }
        return true
    } catch (Failed failure) {
        build.tell(failure: failure.message)
        return false
    }
}

/** Evaluate a Jenkinsfile and run it; return its result. */
String execute(Build build) {
    try {
        def configuration = new org.codehaus.groovy.control.CompilerConfiguration()
        configuration.scriptBaseClass = PipelineScript.name
        def shell = new GroovyShell(this.class.classLoader, new Binding(build: build), configuration)
        shell.evaluate(new File(build.settings.jenkinsfile))
        def good = perform(build)
        ['always', good ? 'success' : 'failure'].each { condition ->
            def body = build.post[condition]
            if (body) new Steps(build: build, stage: 'post', environment: [:]).enter(body)
        }
        return good ? 'SUCCESS' : 'FAILURE'
    } catch (Refused refused) {
        build.tell(refused: refused.message)
        return 'REFUSED'
    }
}

System.err.println 'This is not Jenkins, but a stand-in for tests.'
new JsonSlurper().parse(new File(args[0])).each { settings ->
    def build = new Build(settings: settings)
    build.tell(result: execute(build))
}
